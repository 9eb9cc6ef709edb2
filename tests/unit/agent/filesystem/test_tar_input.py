"""Reading a tar from a pipe."""

import io
import os
import tarfile
import threading
from pathlib import Path

import pytest

from agent.filesystem.tar_input import TarInput

CONTENT = os.urandom(300_000)


def archive(compression: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as tar:  # type: ignore[call-overload]
        info = tarfile.TarInfo("file")
        info.size = len(CONTENT)
        tar.addfile(info, io.BytesIO(CONTENT))
    return buffer.getvalue()


def copied(fd: int, target: Path) -> bytes:
    source = TarInput(fd)
    header = source.open_tar().next()
    assert header is not None
    with target.open("wb") as opened:
        source.copy_to(opened.fileno(), header.size)
    source.drain()
    source.check_end()
    return target.read_bytes()


def piped(data: bytes) -> tuple[int, threading.Thread]:
    read_end, write_end = os.pipe()

    def write() -> None:
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write(data)

    thread = threading.Thread(target=write)
    thread.start()
    return read_end, thread


@pytest.mark.parametrize("compression", ["", "gz"])
def test_a_file_is_copied_from_a_pipe(tmp_path: Path, compression: str) -> None:
    fd, writer = piped(archive(compression))
    try:
        assert copied(fd, tmp_path / "out") == CONTENT
    finally:
        writer.join()
        os.close(fd)


def test_a_file_is_copied_where_the_kernel_cannot_move_it(tmp_path: Path) -> None:
    (tmp_path / "in.tar").write_bytes(archive())
    with (tmp_path / "in.tar").open("rb") as opened:
        assert copied(opened.fileno(), tmp_path / "out") == CONTENT


def test_an_archive_that_breaks_off_in_a_file_is_refused(tmp_path: Path) -> None:
    fd, writer = piped(archive()[:200_000])
    try:
        with pytest.raises(tarfile.ReadError, match="unexpected end"):
            copied(fd, tmp_path / "out")
    finally:
        writer.join()
        os.close(fd)
