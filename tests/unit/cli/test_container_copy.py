"""``cp``: the rules of names, packing local files, and unpacking archives that a container made, hostile ones too."""

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.container.copy import absolute
from cli.container.copy_paths import (
    CopyPlan,
    Endpoint,
    PathState,
    base_name,
    check_endpoints,
    link_target,
    parse_endpoint,
    plan_copy,
)
from cli.container.pack import pack
from cli.container.unpack import ChunkReader, unpack
from covey.errors import CoveyError, InvalidArgumentError

NOTHING, FILE, DIRECTORY = PathState(exists=False), PathState(exists=True), PathState(exists=True, is_directory=True)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("box:/a", Endpoint("box", "/a")),
        ("box:a:b", Endpoint("box", "a:b")),
        ("./box:/a", Endpoint("", "./box:/a")),
        ("/box:a", Endpoint("", "/box:a")),
        ("a", Endpoint("", "a")),
        ("-", Endpoint("", "-")),
    ],
)
def test_a_path_in_a_container_has_a_colon_and_no_leading_dot_or_slash(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (Endpoint("a", "/x"), Endpoint("b", "/y"), "between containers"),
        (Endpoint("", "x"), Endpoint("", "y"), "at least one container"),
        (Endpoint("a", ""), Endpoint("", "y"), "CONTAINER:PATH"),
    ],
)
def test_what_cannot_be_copied_is_refused(source: Endpoint, target: Endpoint, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        check_endpoints(source, target)


@pytest.mark.parametrize(
    ("source", "is_directory", "target", "found", "plan"),
    [
        ("/a/f", False, "/t", DIRECTORY, CopyPlan("/t", "f", "f")),
        ("/a/f", False, "/t/new", NOTHING, CopyPlan("/t", "f", "new")),
        ("/a/f", False, "/t/old", FILE, CopyPlan("/t", "f", "old")),
        ("/a/d", True, "/t", DIRECTORY, CopyPlan("/t", "d", "d")),
        ("/a/d", True, "/t/new", NOTHING, CopyPlan("/t", "d", "new")),
        ("/a/d", True, "/t/new/", NOTHING, CopyPlan("/t", "d", "new")),
        ("/a/d/.", True, "/t/new", NOTHING, CopyPlan("/t", ".", "new")),
        ("/a/d/.", True, "/t", DIRECTORY, CopyPlan("/t", ".", ".")),
        ("/a/d/", True, "/t", DIRECTORY, CopyPlan("/t", "d", "d")),
        ("/", True, "/t", DIRECTORY, CopyPlan("/t", ".", ".")),
        ("/a/f", False, "/new", NOTHING, CopyPlan("/", "f", "new")),
    ],
)
def test_where_a_copy_goes(source: str, is_directory: bool, target: str, found: PathState, plan: CopyPlan) -> None:
    assert plan_copy(source, source_is_directory=is_directory, target=target, found=found) == plan


@pytest.mark.parametrize(
    ("is_directory", "target", "found", "message"),
    [
        (True, "/t/old", FILE, "cannot copy directory"),
        (False, "/t/new/", NOTHING, "no such directory"),
        (False, "/t/old/", FILE, "is not a directory"),
        (False, "/t/old/.", FILE, "is not a directory"),
    ],
)
def test_a_copy_that_has_no_place_is_refused(is_directory: bool, target: str, found: PathState, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        plan_copy("/a/x", source_is_directory=is_directory, target=target, found=found)


@pytest.mark.parametrize(
    ("plan", "names"),
    [
        (CopyPlan("", "d", "new"), {"d": "new", "d/f": "new/f", "other/d": "other/d"}),
        (CopyPlan("", ".", "new"), {".": "new", "./f": "new/f", "./d/f": "new/d/f"}),
        (CopyPlan("", ".", "."), {"./f": "./f"}),
    ],
)
def test_entries_get_the_new_base_name(plan: CopyPlan, names: dict[str, str]) -> None:
    assert {name: plan.renamed(name) for name in names} == names


def test_links_lead_on_from_their_directory() -> None:
    assert link_target("/a/l", "b") == "/a/b"
    assert link_target("/a/l", "/c/../d") == "/d"
    assert base_name("/a/b/") == "b"


def test_an_absolute_path_keeps_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute(".") == f"{tmp_path}/."
    assert absolute("a/") == f"{tmp_path}/a/"
    assert absolute("a/.") == f"{tmp_path}/a/."
    assert absolute("/") == "/"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    (top / "sub").mkdir(parents=True)
    (top / "file").write_bytes(b"x" * 3_000_001)
    (top / "file").chmod(0o640)
    (top / "sub" / "link").symlink_to("../file")
    os.link(top / "file", top / "hard")
    os.mkfifo(top / "pipe")
    os.utime(top / "file", (1_000_000, 1_000_000))
    return top


def same(name: str) -> str:
    return name


def test_a_tree_survives_packing_and_unpacking(tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    reader = ChunkReader(pack(str(tree), "tree", same, follow_link=False))
    unpack(reader, CopyPlan(str(target), "tree", "copy"), keep_owner=False)
    copy = target / "copy"
    assert (copy / "file").read_bytes() == b"x" * 3_000_001
    assert ((copy / "file").stat().st_mode & 0o777, (copy / "file").stat().st_mtime) == (0o640, 1_000_000)
    assert (copy / "sub" / "link").readlink() == Path("../file")
    assert (copy / "hard").samefile(copy / "file")
    assert (copy / "pipe").is_fifo()
    assert reader.count > 3_000_001


def test_a_link_is_packed_as_a_link_unless_it_is_followed(tree: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tree)
    for follow, names in ((False, {"l"}), (True, {"l", "l/file", "l/hard", "l/pipe", "l/sub", "l/sub/link"})):
        data = b"".join(pack(str(link), "l", same, follow_link=follow))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            assert set(archive.getnames()) == names


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="nothing"):
        list(pack(str(tmp_path / "nothing"), "nothing", same, follow_link=False))


def made(add: Callable[[tarfile.TarFile], None]) -> Iterator[bytes]:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        add(archive)
    data = file.getvalue()
    return (data[start : start + 700] for start in range(0, len(data), 700))


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


@pytest.mark.parametrize(
    "entries",
    [
        [entry("../escape")],
        [entry("a/../../escape")],
        [entry("/escape")],
        [entry("l", tarfile.SYMTYPE, ".."), entry("l/escape")],
        [entry("l", tarfile.SYMTYPE, "/tmp"), entry("l/covey-escape", tarfile.DIRTYPE)],
        [entry("a", tarfile.SYMTYPE, "b"), entry("b", tarfile.SYMTYPE, ".."), entry("a/escape")],
        [entry("h", tarfile.LNKTYPE, "../outside")],
        [entry("l", tarfile.SYMTYPE, ".."), entry("h", tarfile.LNKTYPE, "l/outside")],
    ],
)
def test_an_archive_cannot_write_or_link_outside_of_its_directory(
    tmp_path: Path, entries: list[tarfile.TarInfo]
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (tmp_path / "outside").write_text("secret")

    def add(archive: tarfile.TarFile) -> None:
        for info in entries:
            archive.addfile(info)

    with pytest.raises(CoveyError, match="directory"):
        unpack(ChunkReader(made(add)), CopyPlan(str(target), "", ""), keep_owner=False)
    assert not (tmp_path / "escape").exists()
    assert not Path("/tmp/covey-escape").exists()
    assert (tmp_path / "outside").stat().st_nlink == 1


def test_a_link_that_is_in_the_way_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    outside = tmp_path / "outside"
    outside.write_text("old")
    (target / "f").symlink_to(outside)

    def add(archive: tarfile.TarFile) -> None:
        info = entry("f")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"new"))

    unpack(ChunkReader(made(add)), CopyPlan(str(target), "f", "f"), keep_owner=False)
    assert (outside.read_text(), (target / "f").read_text()) == ("old", "new")


def test_a_directory_does_not_replace_a_file_nor_a_file_a_directory(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    (tmp_path / "d").mkdir()
    for info in (entry("f", tarfile.DIRTYPE), entry("d")):
        with pytest.raises(CoveyError, match="cannot overwrite"):
            unpack(
                ChunkReader(made(lambda archive, info=info: archive.addfile(info))),  # type: ignore[misc]
                CopyPlan(str(tmp_path), "", ""),
                keep_owner=False,
            )


@pytest.mark.parametrize("data", [b"", b"no archive at all" * 100])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(CoveyError, match="cannot be read"):
        unpack(ChunkReader(iter([data] if data else [])), CopyPlan(str(tmp_path), "", ""), keep_owner=False)


def test_an_archive_that_ends_in_the_middle_of_a_file_is_refused(tmp_path: Path) -> None:
    def add(archive: tarfile.TarFile) -> None:
        info = entry("f")
        info.size = 100_000
        archive.addfile(info, io.BytesIO(b"x" * 100_000))

    cut = b"".join(made(add))[:5000]
    with pytest.raises(CoveyError, match="cannot be read"):
        unpack(ChunkReader(iter([cut])), CopyPlan(str(tmp_path), "", ""), keep_owner=False)
