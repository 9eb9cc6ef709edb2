"""Durable replacement of a file: content, mode, and leftovers of a crash."""

from pathlib import Path

import pytest

from covey.durable_file import replace_file


def test_a_file_is_replaced_with_its_mode_and_without_leftovers(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    path.write_bytes(b"old")
    (tmp_path / ".node.key.new").write_bytes(b"left by a crash")
    replace_file(path, b"new", 0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "node.key"
    path.write_bytes(b"old")

    def fail(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new", 0o600)
    assert path.read_bytes() == b"old"
