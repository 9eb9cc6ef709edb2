"""State of a manager that was removed: its log may be the last copy of acknowledged writes."""

import logging
from pathlib import Path

import pytest

from node.manager_state import remove_manager_state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """STATE/manager of a member."""
    manager = tmp_path / "manager"
    log_of(manager, b"one")
    (manager / "keys").write_bytes(b"keys")
    (manager / "other").write_bytes(b"x")
    return manager


def log_of(manager: Path, data: bytes) -> None:
    (manager / "raft").mkdir(parents=True)
    (manager / "raft" / "wal").write_bytes(data)
    (manager / "raft" / "member.json").write_text("{}")


def names(manager: Path) -> set[str]:
    return {path.name for path in manager.iterdir()}


def test_a_manager_removed_by_its_group_keeps_its_log_and_logs_the_path(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """1. A minority is founded anew. 2. The majority, which went on, is told that it is no member. 3. Its writes were nowhere else."""
    with caplog.at_level(logging.WARNING):
        remove_manager_state(folder, keep_log=True)
    assert names(folder) == {"keys", "raft.lost"}
    assert (folder / "raft.lost" / "wal").read_bytes() == b"one"
    assert str(folder / "raft.lost") in caplog.text


def test_only_the_latest_log_is_kept_and_an_empty_one_does_not_replace_it(folder: Path) -> None:
    remove_manager_state(folder, keep_log=True)
    (folder / "raft").mkdir()  # of a join that was cut short
    remove_manager_state(folder, keep_log=True)
    assert (folder / "raft.lost" / "wal").read_bytes() == b"one"
    assert names(folder) == {"keys", "raft.lost"}
    log_of(folder, b"two")
    remove_manager_state(folder, keep_log=True)
    assert names(folder) == {"keys", "raft.lost"}
    assert (folder / "raft.lost" / "wal").read_bytes() == b"two"


def test_demotion_removes_the_log(folder: Path) -> None:
    remove_manager_state(folder, keep_log=True)
    log_of(folder, b"two")
    remove_manager_state(folder, keep_log=False)
    assert names(folder) == {"keys"}
    remove_manager_state(folder.with_name("none"), keep_log=False)
