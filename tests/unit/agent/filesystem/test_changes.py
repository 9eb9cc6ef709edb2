"""Changes of a writable layer against the image's layers, as overlayfs leaves them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agent.filesystem.changes import ADDED, DELETED, MODIFIED, list_changes
from agent.filesystem.runtime_paths import is_runtime_path

pytestmark = pytest.mark.root


def whiteout(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, 0)


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Path, Path, Path]:
    """The writable layer, and two layers of an image, topmost first."""
    upper, top, base = (tmp_path / name for name in ("upper", "top", "base"))
    (base / "etc").mkdir(parents=True)
    for name in ("passwd", "group", "old"):
        (base / "etc" / name).write_text(name)
    (top / "etc").mkdir(parents=True)
    whiteout(top / "etc/old")
    upper.mkdir()
    (upper / "etc").mkdir()
    return upper, top, base


def changes(layers: tuple[Path, Path, Path]) -> dict[str, int]:
    upper, *lowers = layers
    return {change.path: change.kind for change in list_changes(str(upper), [str(layer) for layer in lowers])}


def test_each_kind_is_told_with_its_parent(layers: tuple[Path, Path, Path]) -> None:
    upper = layers[0]
    (upper / "etc/passwd").write_text("new")
    (upper / "etc/added").touch()
    whiteout(upper / "etc/group")
    assert changes(layers) == {"/etc": MODIFIED, "/etc/added": ADDED, "/etc/group": DELETED, "/etc/passwd": MODIFIED}


def test_a_directory_that_only_holds_a_changed_file_is_no_change(layers: tuple[Path, Path, Path]) -> None:
    upper, top, _ = layers
    (upper / "etc/passwd").write_text("new")
    times = (top / "etc").stat()
    os.utime(upper / "etc", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert changes(layers) == {"/etc/passwd": MODIFIED}


def test_what_the_image_deleted_itself_is_added_and_not_deleted(layers: tuple[Path, Path, Path]) -> None:
    upper = layers[0]
    (upper / "etc/old").touch()
    assert changes(layers)["/etc/old"] == ADDED
    (upper / "etc/old").unlink()
    whiteout(upper / "etc/old")
    assert "/etc/old" not in changes(layers)


def test_mount_points_of_the_runtime_are_no_changes(layers: tuple[Path, Path, Path]) -> None:
    upper, top, _ = layers
    times = (top / "etc").stat()
    for name in ("etc/hosts", "etc/resolv.conf", ".dockerenv"):
        (upper / name).touch()
    for name in ("dev", "proc", "sys"):
        (upper / name).mkdir()
    os.utime(upper / "etc", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert changes(layers) == {}
    (upper / "etc/hosts").write_text("written by the user")
    assert "/etc/hosts" in changes(layers)


def test_a_runtime_path_that_the_image_has_is_a_change() -> None:
    assert is_runtime_path("etc/hosts", stat.S_IFREG, 0, in_image=False)
    assert not is_runtime_path("etc/hosts", stat.S_IFREG, 0, in_image=True)
    assert not is_runtime_path("etc/passwd", stat.S_IFREG, 0, in_image=False)
