from pathlib import Path

from covey.states import NodeRole
from node.node_record import NodeRecord, NodeRecordFile, SessionRecord

RECORD = NodeRecord(
    node_id="n", cluster_id="c", role=NodeRole.MANAGER, advertise_addr="192.0.2.1", managers=("192.0.2.1:2378",)
)


def test_a_record_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    NodeRecordFile(tmp_path).save(RECORD)
    assert NodeRecordFile(tmp_path).load() == RECORD


def test_a_host_in_no_cluster_has_none(tmp_path: Path) -> None:
    file = NodeRecordFile(tmp_path)
    assert file.load() is None
    file.save(RECORD)
    file.remove()
    file.remove()
    assert file.load() is None


def test_a_record_half_written_by_a_crash_is_not_read(tmp_path: Path) -> None:
    file = NodeRecordFile(tmp_path)
    file.save(RECORD)
    (tmp_path / "node.new").write_bytes(b'{"node_id": "x"')
    assert file.load() == RECORD


def test_a_session_writes_its_record_first_and_then_only_changes(tmp_path: Path) -> None:
    file = NodeRecordFile(tmp_path)
    record = SessionRecord(file, RECORD)
    record.replace(RECORD)
    assert file.load() is None
    record.update(role=NodeRole.MANAGER)
    assert file.load() == RECORD, "the first update is written although nothing changed"
    file.remove()
    record.update(role=NodeRole.MANAGER)
    assert file.load() is None
    record.update(role=NodeRole.WORKER)
    assert file.load() == record.current
