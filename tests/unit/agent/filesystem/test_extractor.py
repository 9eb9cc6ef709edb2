"""Unpacking of archives that are not trusted: everything stays below the root, and refusals have Docker's words."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.filesystem.extractor import ExtractOptions, Extractor
from agent.filesystem.tar_input import TarInput
from covey.errors import CoveyError, InvalidArgumentError, TooLargeError

ME = (os.getuid(), os.getgid())
DEFAULTS = ExtractOptions()


def entry(name: str, data: bytes = b"", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.uid, info.gid, info.mode = len(data), *ME, 0o644
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, data


def archive(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def unpack(root: Path, data: bytes, target: str = "/data", options: ExtractOptions = DEFAULTS) -> None:
    """Unpack below `target` of the root, as the worker does."""
    fd = os.memfd_create("archive")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    root_fd = os.open(root, os.O_PATH)
    try:
        Extractor(root_fd, target, options).unpack(TarInput(fd))
    finally:
        os.close(fd)
        os.close(root_fd)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    top = tmp_path / "root"
    (top / "data").mkdir(parents=True)
    (top / "etc").mkdir()
    return top


def test_files_links_and_times_arrive(root: Path) -> None:
    folder = entry("d", type=tarfile.DIRTYPE, mode=0o750, mtime=1000)
    unpack(
        root,
        archive(
            folder,
            entry("d/f", b"hello", mtime=2000),
            entry("h", type=tarfile.LNKTYPE, linkname="d/f"),
            entry("l", type=tarfile.SYMTYPE, linkname="/etc/x"),
        ),
    )
    data = root / "data"
    assert (data / "h").read_bytes() == b"hello"
    assert (data / "h").stat().st_nlink == 2
    assert os.readlink(data / "l") == "/etc/x"  # noqa: PTH115  the text itself
    assert (data / "d").stat().st_mtime == 1000
    assert (data / "d").stat().st_mode & 0o777 == 0o750


def test_compressed_archives_and_missing_parents_work(root: Path) -> None:
    unpack(root, gzip.compress(archive(entry("a/b/c", b"x" * 300_000))))
    assert (root / "data/a/b/c").stat().st_size == 300_000


def test_a_symlink_of_the_container_is_followed_inside_its_root(root: Path, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (root / "data/link").symlink_to("../../../etc")
    unpack(root, archive(entry("link/new", b"x")))
    assert (root / "etc/new").exists()
    assert not (tmp_path / "etc/new").exists()


def test_a_symlink_of_the_archive_leads_no_later_entry_out(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    sneaky = entry("l", type=tarfile.SYMTYPE, linkname=str(tmp_path / "outside"))
    with pytest.raises(CoveyError):
        unpack(root, archive(sneaky, entry("l/evil", b"x")))
    assert list((tmp_path / "outside").iterdir()) == []


def test_an_absolute_name_stays_below_the_target(root: Path) -> None:
    unpack(root, archive(entry("/etc/evil", b"x")))
    assert (root / "data/etc/evil").exists()
    assert list((root / "etc").iterdir()) == []


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([entry("../../evil", b"x")], '"../../evil" is outside of "/data"'),
        ([entry("a/../../evil", b"x")], "is outside of"),
        ([entry("h", type=tarfile.LNKTYPE, linkname="../etc/passwd")], 'invalid hardlink "h"'),
        ([entry("h", type=tarfile.LNKTYPE, linkname="none")], "no such file"),
        ([entry("x" * 4097, b"x")], "impossible path"),
        ([entry("f", b"x"), entry("f/g", b"x")], "not a directory"),
        ([entry("t", type=b"V")], "unknown type"),
    ],
    ids=["dots", "hidden-dots", "hardlink-out", "hardlink-nowhere", "long", "file-as-folder", "type"],
)
def test_hostile_entries_are_refused(
    root: Path, entries: list[tuple[tarfile.TarInfo, bytes]], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        unpack(root, archive(*entries))
    assert words in caught.value.message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: os.urandom(2048),
        lambda good: good[:700],
        lambda good: good[:100],
        lambda good: gzip.compress(good)[:-20],
    ],
    ids=["noise", "cut-content", "cut-header", "cut-gzip"],
)
def test_damaged_archives_are_refused_and_leave_no_partial_file(root: Path, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(InvalidArgumentError):
        unpack(root, damage(archive(entry("f", b"x" * 4000))))
    assert list((root / "data").iterdir()) == []


def header(size: bytes = b"", **attributes: object) -> bytes:
    """The block of one entry; ``size`` is the field as it stands there."""
    info, _ = entry("f", **attributes)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT)[:512])
    if size:
        block[124:136] = size
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def extended(headers: dict[str, str], data: bytes = b"x") -> bytes:
    """An archive of one file with extended headers."""
    info, _ = entry("f", data)
    info.pax_headers = headers
    return info.tobuf(tarfile.PAX_FORMAT) + data.ljust(1024, b"\0") + bytes(1024)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (header(b"\xff" * 12), "invalid tar header"),
        (header(b"\x80" + b"\x7f" * 11) + b"x" * 2048, "unexpected EOF"),
        (header(b"00077777777\0") + b"x" * 2048, "unexpected EOF"),
        (header(b"zzzzzzzzzzz\0") + b"x" * 2048, "invalid tar header"),
        (extended({"size": "-5"}), "invalid tar header"),
        (extended({"size": str(1 << 50)}), "unexpected EOF"),
        (extended({"path": "../../evil"}), "is outside of"),
        (extended({"path": "a\0b"}), "impossible path"),
        (extended({"mtime": "inf"}), "impossible attributes"),
        (extended({"uid": "99999999999999"}), "impossible attributes"),
        (header(type=b"S") + bytes(1024), "is a sparse file"),
        (extended({"GNU.sparse.size": str(1 << 40), "GNU.sparse.map": "0,1,1099511627775,1"}), "is a sparse file"),
        (
            extended({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"}, b"999999999\n"),
            "is a sparse file",
        ),
        (archive(entry("d", type=tarfile.CHRTYPE, devmajor=2_000_000, devminor=2_000_000)), "impossible device"),
        (
            archive(
                entry("a", type=tarfile.SYMTYPE, linkname="b"),
                entry("b", type=tarfile.SYMTYPE, linkname="a"),
                entry("a/c", b"x"),
            ),
            "too many levels of symlinks",
        ),
    ],
    ids=[
        "negative size",
        "huge size",
        "size beyond the end",
        "size that is no number",
        "negative extended size",
        "huge extended size",
        "extended path",
        "NUL in a path",
        "time",
        "owner",
        "sparse",
        "sparse by a map",
        "sparse with a long map",
        "device",
        "loop of symlinks",
    ],
)
def test_lying_headers_are_refused(root: Path, data: bytes, words: str, tmp_path: Path) -> None:
    """A negative size made tarfile read the same header again and again."""
    with pytest.raises(InvalidArgumentError, match=words):
        unpack(root, data)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root"]


def test_deep_paths_are_made_up_to_a_limit(root: Path) -> None:
    """Each level took a call, so a path of 2,000 levels ended in an error of the daemon."""
    unpack(root, archive(entry("d/" * 200 + "f", b"x")))
    assert (root / "data" / "/".join(["d"] * 200) / "f").read_bytes() == b"x"
    with pytest.raises(InvalidArgumentError, match="below more than 256 directories"):
        unpack(root, archive(entry("e/" * 1900 + "f", b"x")))
    assert not (root / "data/e").exists()


def test_huge_headers_are_refused_before_they_are_read(root: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 4 << 30
    with pytest.raises(TooLargeError, match="extended tar header"):
        unpack(root, info.tobuf() + bytes(1024))


def test_kinds_are_kept_when_asked(root: Path) -> None:
    (root / "data/dir").mkdir()
    (root / "data/dir/x").touch()
    with pytest.raises(InvalidArgumentError, match='cannot overwrite directory "/data/dir" with non-directory "/data"'):
        unpack(root, archive(entry("dir", b"x")), options=ExtractOptions(keep_kinds=True))
    assert (root / "data/dir/x").exists()
    unpack(root, archive(entry("dir", b"x")))
    assert (root / "data/dir").read_bytes() == b"x"
    with pytest.raises(InvalidArgumentError, match="cannot overwrite non-directory"):
        unpack(root, archive(entry("dir", type=tarfile.DIRTYPE)), options=ExtractOptions(keep_kinds=True))


def test_names_that_differ_in_case_are_different_files(root: Path) -> None:
    unpack(root, archive(entry("File", b"1"), entry("file", b"2")))
    assert sorted(path.name for path in (root / "data").iterdir()) == ["File", "file"]
