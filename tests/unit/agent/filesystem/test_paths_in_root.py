"""Paths of `docker cp`: names, symlinks inside the root, and the bits of Go's FileMode."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.filesystem.paths_in_root import go_mode, link_target, parse_path, path_stat, resolve
from covey.errors import InvalidArgumentError, NotFoundError


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "out").symlink_to("../../../../etc")
    (tmp_path / "dangling").symlink_to("/etc/none/x")
    (tmp_path / "loop").symlink_to("loop")
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("path", "clean", "name", "follow"),
    [
        ("/etc", "/etc", "etc", False),
        ("etc/", "/etc", "etc", True),
        ("/etc/.", "/etc", ".", True),
        ("/", "/", "/", True),
        ("../../etc/../bin", "/bin", "bin", False),
        (".", "/", ".", True),
    ],
)
def test_a_path_is_clean_and_absolute(path: str, clean: str, name: str, follow: bool) -> None:
    assert parse_path(path) == (clean, name, follow)


def test_a_final_symlink_is_told_with_its_target(root: int) -> None:
    wanted = parse_path("/link")
    found = resolve(root, wanted, "c")
    described = path_stat(root, wanted, found.found)
    assert (described.name, described.link_target) == ("link", "/etc/passwd")
    assert described.mode & 1 << 27


def test_links_lead_nowhere_but_into_the_root(root: int) -> None:
    assert link_target(root, "/out") == "/etc"
    assert stat.S_ISDIR(resolve(root, parse_path("/out/"), "c").found.st_mode)
    assert resolve(root, parse_path("/out/passwd"), "c").found.st_size == 4
    assert link_target(root, "/dangling") == "/etc/none/x"


def test_what_is_missing_or_no_directory_is_refused_by_name(root: int) -> None:
    with pytest.raises(NotFoundError, match="Could not find the file /none in container c"):
        resolve(root, parse_path("/none"), "c")
    with pytest.raises(InvalidArgumentError, match="not a directory"):
        resolve(root, parse_path("/etc/passwd/"), "c")
    with pytest.raises(InvalidArgumentError, match="not a directory"):
        resolve(root, parse_path("/etc/passwd/x"), "c")
    with pytest.raises(InvalidArgumentError, match="too many levels"):
        resolve(root, parse_path("/loop/"), "c")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (stat.S_IFDIR | 0o755, 1 << 31 | 0o755),
        (stat.S_IFREG | stat.S_ISUID | 0o755, 1 << 23 | 0o755),
        (stat.S_IFDIR | stat.S_ISVTX | 0o777, 1 << 31 | 1 << 20 | 0o777),
        (stat.S_IFCHR | 0o600, 1 << 26 | 1 << 21 | 0o600),
        (stat.S_IFSOCK | stat.S_ISGID, 1 << 24 | 1 << 22),
    ],
)
def test_modes_have_the_bits_of_go(mode: int, expected: int) -> None:
    assert go_mode(mode) == expected
