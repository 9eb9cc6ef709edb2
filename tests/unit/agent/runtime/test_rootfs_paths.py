"""Paths in a root filesystem: no symbolic link of an image leads out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.runtime import rootfs_paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("of the host\n")
    made = tmp_path / "root"
    (made / "etc").mkdir(parents=True)
    return made


def test_links_are_followed_inside_the_root_only(root: Path) -> None:
    (root / "etc/passwd").symlink_to("../../secret")
    assert rootfs_paths.read_text(root, "/etc/passwd") == ""
    (root / "secret").write_text("of the image\n")
    assert rootfs_paths.read_text(root, "/etc/passwd") == "of the image\n"
    assert rootfs_paths.read_text(root, "/../../secret") == "of the image\n"
    (root / "up").symlink_to("/")
    assert rootfs_paths.read_text(root, "/up/up/secret") == "of the image\n"


def test_directories_are_created_where_a_link_of_the_image_leads(root: Path) -> None:
    (root / "srv").symlink_to("/../data")
    (root / "data").mkdir()
    rootfs_paths.make_directories(root, "/srv/a/b")
    assert (root / "data/a/b").is_dir()
    assert not (root.parent / "data").exists()


def test_a_file_in_place_of_a_directory_is_an_error(root: Path) -> None:
    (root / "file").touch()
    with pytest.raises(NotADirectoryError):
        rootfs_paths.make_directories(root, "/file/x")


def test_no_descriptor_is_left_open(root: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    rootfs_paths.make_directories(root, "/a/b/c")
    rootfs_paths.read_text(root, "/none")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
