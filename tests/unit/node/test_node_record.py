from pathlib import Path

from covey.states import NodeRole
from node.node_record import NodeRecord, NodeRecordFile

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
