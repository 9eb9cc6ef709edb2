"""Shipping of logs: messages of syslog and the journal, positions, restarts, and a server that is away."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.logs import journal_message, sinks, syslog_message
from agent.logs.entry import LogEntry
from agent.logs.errors import LogDriverError
from agent.logs.reader import FollowSignals
from agent.logs.shipper import LogShipper
from agent.logs.syslog_message import SyslogFormat
from covey.syslog_options import read_syslog

SECOND = 1767323045_000000000
ENTRY = LogEntry(SECOND + 123_456_789, "stdout", b"hello\n")


def line(number: int, text: str, tag: str = "F") -> bytes:
    return f"2026-01-02T03:04:05.{number:09}+00:00 stdout {tag} {text}\n".encode()


@pytest.mark.parametrize(
    ("name", "counted", "message"),
    [
        ("", False, b"<30>Jan  2 03:04:05 web[7]: hello\n"),
        ("rfc3164", False, b"<30>Jan  2 03:04:05 host1 web[7]: hello\n"),
        ("rfc5424", False, b"<30>1 2026-01-02T03:04:05Z host1 web 7 web - hello\n"),
        ("rfc5424micro", True, b"58 <30>1 2026-01-02T03:04:05.123456Z host1 web 7 web - hello\n"),
    ],
)
def test_syslog_messages(name: str, counted: bool, message: bytes) -> None:
    assert syslog_message.encode(ENTRY, SyslogFormat(name, 3, "host1", "web", 7, counted)) == message


def test_stderr_is_an_error_for_syslog_and_the_journal() -> None:
    entry = ENTRY._replace(stream="stderr")
    assert syslog_message.encode(entry, SyslogFormat("", 16, "h", "t", 1)).startswith(b"<131>")
    assert b"PRIORITY=3\n" in journal_message.encode(entry, journal_message.JournalFields({}))


def test_journal_fields_carry_the_container_and_its_attributes() -> None:
    fields = journal_message.container_fields(
        "ab" * 32, "web", "shop:1", "t", {"com.x/y": "1\n2", "tag": "t", "9": "n"}
    )
    message = journal_message.encode(ENTRY, fields)
    assert message.startswith(b"MESSAGE=hello\nPRIORITY=6\n")
    assert b"COM_X_Y\n" + struct.pack("<Q", 3) + b"1\n2\n" in message
    for expected in (
        b"CONTAINER_ID=abababababab\n",
        b"CONTAINER_NAME=web\n",
        b"SYSLOG_IDENTIFIER=t\n",
        b"IMAGE_NAME=shop:1\n",
    ):
        assert expected in message
    assert b"\nTAG=" not in message


class Collector:
    """A sink that refuses the first `failures` times."""

    def __init__(self, failures: int = 0) -> None:
        self.texts: list[str] = []
        self.failures = failures
        self.tried = asyncio.Event()

    async def open(self) -> None:
        return

    async def send(self, entries: Sequence[LogEntry]) -> None:
        self.tried.set()
        if self.failures:
            self.failures -= 1
            raise ConnectionRefusedError
        self.texts += [entry.data.decode().strip() for entry in entries]

    def close(self) -> None:
        return


ENDED = FollowSignals(asyncio.Event(), lambda: True)


async def ship(path: Path, sink: Collector, buffer_bytes: int = 0) -> list[str]:
    async with asyncio.timeout(20):
        await LogShipper(path, sink, ENDED, buffer_bytes=buffer_bytes).run()
    return sink.texts


async def test_a_restart_goes_on_behind_what_was_sent_and_through_rotated_files(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(line(1, "a") + line(2, "b"))
    assert await ship(path, Collector()) == ["a", "b"]
    with path.open("ab") as log:
        log.write(line(3, "c"))
    path.rename(tmp_path / "log.2")
    (tmp_path / "log.1").write_bytes(line(4, "d"))
    path.write_bytes(line(5, "e"))
    assert await ship(path, Collector()) == ["c", "d", "e"]
    assert await ship(path, Collector()) == []


async def test_an_entry_whose_end_comes_after_a_restart_is_sent_whole(tmp_path: Path) -> None:
    path, sink, ended, changed = tmp_path / "log", Collector(), False, asyncio.Event()
    path.write_bytes(line(1, "a") + line(2, "half ", "P"))
    shipper = asyncio.ensure_future(LogShipper(path, sink, FollowSignals(changed, lambda: ended)).run())
    async with asyncio.timeout(10):
        await sink.tried.wait()
    shipper.cancel()
    await asyncio.wait({shipper})
    with path.open("ab") as log:
        log.write(line(3, "whole"))
    assert sink.texts == ["a"]
    assert await ship(path, Collector()) == ["half whole"]


async def test_a_server_that_is_away_gets_everything_later(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(line(1, "a") + line(2, "b"))
    assert await ship(path, Collector(failures=1)) == ["a", "b"]


async def test_with_a_bound_the_oldest_unsent_lines_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(line(number, str(number)) for number in range(100)))
    texts = await ship(path, Collector(failures=1), buffer_bytes=len(line(50, "50")) * 3)
    assert texts[-1] == "99"
    assert len(texts) <= 3


async def test_the_journal_takes_small_messages_as_datagrams_and_large_ones_as_files(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "socket"))
        sink = sinks.journal_sink(journal_message.JournalFields({"CONTAINER_NAME": "web"}), tmp_path / "socket")
        await sink.send((ENTRY, LogEntry(SECOND, "stdout", b"x" * 500_000 + b"\n")))
        assert journal.recv(1 << 16) == b"MESSAGE=hello\nPRIORITY=6\nCONTAINER_NAME=web\n"
        data, descriptors, _, _ = socket.recv_fds(journal, 1 << 16, 1)
        assert data == b""
        with open(descriptors[0], "rb") as file:  # noqa: PTH123 - a descriptor has no path
            file.seek(0)
            assert len(file.read()) > 500_000
        sink.close()


async def test_a_syslog_server_over_tcp_gets_lines_again_after_it_closed_the_connection() -> None:
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.put_nowait(await reader.readline())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    options = read_syslog({"syslog-address": f"tcp://127.0.0.1:{port}", "syslog-format": "rfc3164"})
    sink = sinks.syslog_sink(options, SyslogFormat("rfc3164", 3, "h", "t", 1))
    async with server, asyncio.timeout(10):
        for text in (b"one\n", b"two\n"):
            await sink.send((LogEntry(SECOND, "stdout", text),))
            assert (await received.get()).endswith(b"t[1]: " + text)
            while not sink._reader.at_eof():  # type: ignore[attr-defined] # noqa: ASYNC110 - the end has no event
                await asyncio.sleep(0.005)
        sink.close()


async def test_a_missing_syslog_or_journal_or_server_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        LogDriverError, match="failed to initialize logging driver: journald is not enabled on this host"
    ):
        sinks.journal_sink(journal_message.JournalFields({}), tmp_path / "none")
    form = SyslogFormat("", 3, "h", "t", 1)
    with pytest.raises(LogDriverError, match="stat /none: no such file or directory"):
        sinks.syslog_sink(read_syslog({"syslog-address": "unix:///none"}), form)
    sink = sinks.syslog_sink(read_syslog({"syslog-address": "tcp://127.0.0.1:1"}), form)
    with pytest.raises(LogDriverError, match=r"dial tcp 127.0.0.1:1: connect: connection refused"):
        await sinks.require_reachable(sink, "tcp 127.0.0.1:1")


async def test_tls_files_are_read_when_the_connection_is_made(tmp_path: Path) -> None:
    options = read_syslog({"syslog-address": "tcp+tls://127.0.0.1:1", "syslog-tls-ca-cert": str(tmp_path / "none")})
    sink = sinks.syslog_sink(options, SyslogFormat("", 3, "h", "t", 1))
    with pytest.raises((OSError, ssl.SSLError)):
        await sink.open()
