"""Tars of trees: exact sizes, hard links, whiteouts, and chunks of HTTP on a socket."""

from __future__ import annotations

import io
import os
import socket
import tarfile
import threading
from pathlib import Path

import pytest

from agent.filesystem.tar_output import TarOutput
from agent.filesystem.tar_sinks import ChunkedSocketSink, DescriptorSink
from agent.filesystem.tree_archive import TreeArchive


def tar_of(folder: Path, prefix: str = "top", *, as_layer: bool = False) -> dict[str, tarfile.TarInfo]:
    fd, root = os.memfd_create("tar"), os.open(folder, os.O_RDONLY)
    output = TarOutput(DescriptorSink(fd))
    TreeArchive(output, as_layer=as_layer).add_tree(root, prefix)
    output.end()
    os.lseek(fd, 0, os.SEEK_SET)
    with os.fdopen(fd, "rb") as data, tarfile.open(fileobj=data) as archive:
        return {member.name: member for member in archive}


def test_a_tree_has_its_files_links_and_hard_links_but_no_sockets(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"x" * 100_000)
    (tmp_path / "h").hardlink_to(tmp_path / "d/f")
    (tmp_path / "l").symlink_to("/etc")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        found = tar_of(tmp_path)
    assert sorted(found) == ["top", "top/d", "top/d/f", "top/h", "top/l"]
    assert found["top/l"].linkname == "/etc"
    assert {found["top/h"].islnk(), found["top/d/f"].islnk()} == {True, False}


@pytest.mark.root
def test_marks_of_overlayfs_become_whiteouts_in_a_layer(tmp_path: Path) -> None:
    os.mknod(tmp_path / "gone", 0o020000, 0)
    (tmp_path / "again").mkdir()
    os.setxattr(tmp_path / "again", "trusted.overlay.opaque", b"y")
    assert {"top/.wh.gone", "top/again/.wh..wh..opq"} <= tar_of(tmp_path, as_layer=True).keys()


def test_a_file_that_shrinks_meanwhile_is_filled_with_zeros(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 10)
    content, fd = os.open(path, os.O_RDONLY), os.memfd_create("tar")
    output = TarOutput(DescriptorSink(fd))
    for size in (100, 300_000):
        info = tarfile.TarInfo(f"f{size}")
        info.size = size
        os.lseek(content, 0, os.SEEK_SET)
        output.add(info, content)
    output.end()
    os.lseek(fd, 0, os.SEEK_SET)
    with os.fdopen(fd, "rb") as data, tarfile.open(fileobj=data) as archive:
        assert [member.size for member in archive] == [100, 300_000]


def test_a_socket_gets_chunks_of_http(tmp_path: Path) -> None:
    big = os.urandom(3_000_000)
    (tmp_path / "f").write_bytes(big)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    received = io.BytesIO()

    def read() -> None:
        while data := theirs.recv(1 << 16):
            received.write(data)

    reader = threading.Thread(target=read)
    reader.start()
    with ours:
        output, root = TarOutput(ChunkedSocketSink(ours.fileno())), os.open(tmp_path, os.O_RDONLY)
        TreeArchive(output).add_tree(root, "top")
        output.end()
    reader.join(10)
    theirs.close()
    with tarfile.open(fileobj=io.BytesIO(unchunked(received.getvalue()))) as archive:
        content = archive.extractfile("top/f")
        assert content is not None
        assert content.read() == big


def unchunked(data: bytes) -> bytes:
    """The body of a chunked response, which must be complete."""
    body = b""
    while True:
        size, _, rest = data.partition(b"\r\n")
        count = int(size, 16)
        if not count:
            assert rest == b"\r\n"
            return body
        body += rest[:count]
        assert rest[count : count + 2] == b"\r\n"
        data = rest[count + 2 :]
