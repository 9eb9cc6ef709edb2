"""Clients that vanish in the middle of any stream leave nothing behind in the daemon: no open file, no task, no half-made image."""

import contextlib
import json
import socket
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab import host as machine
from tests.support import labs
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root

TIMES = 8
READ_SECONDS = 10.0
TALK = ("sh", "-c", "while true; do echo line; sleep 0.05; done")


class Host:
    """The only host of a lab, with a talking container and a service."""

    def __init__(self, lab: LabCluster) -> None:
        self.lab, self.host = lab, lab[1]
        self.container = lab.docker("run", "-d", "--stop-signal", "KILL", "--name", "talker", IMAGE, *TALK).out.strip()
        lab.service("chatty", command=TALK)
        lab.running("chatty", 1)

    @property
    def pid(self) -> int:
        """PID of the daemon on the machine."""
        inside = machine.daemon_pid(self.host)
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                numbers = next(
                    line for line in (process / "status").read_text().splitlines() if line.startswith("NSpid:")
                )
                if numbers.split()[1:][-1] == str(inside) and b"coveyd" in (process / "cmdline").read_bytes():
                    state = str(self.host.state_dir).encode()
                    if state in (process / "cmdline").read_bytes():
                        return int(process.name)
        raise AssertionError("no daemon")

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def vanish(
        self, method: str, path: str, body: bytes = b"", *, length: int | None = None, upgrade: bool = False
    ) -> bytes:
        """Send a request, read the beginning of its answer, and close the connection at once."""
        head = f"{method} /v1.50{path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body) if length is None else length}\r\n"
        head += "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else ""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(READ_SECONDS if length is None else 0.2)
            client.connect(str(self.host.socket))
            client.sendall(head.encode() + b"\r\n" + body)
            with contextlib.suppress(TimeoutError):
                return client.recv(256)
        return b""

    def exec_id(self) -> str:
        body = {"Cmd": list(TALK), "AttachStdout": True, "AttachStdin": True}
        status, answer = self.lab.request("POST", "/containers/talker/exec", body)
        assert status == 201, answer
        return str(answer["Id"])


@pytest.fixture(scope="module")
def host(images: Path) -> Iterator[Host]:
    with labs.running_lab("vanish", 1, archive=images) as lab:
        yield Host(lab)


STREAMS: tuple[tuple[str, str, str], ...] = (
    ("the log of a container", "GET", "/containers/talker/logs?follow=1&stdout=1"),
    ("statistics", "GET", "/containers/talker/stats"),
    ("the log of a service", "GET", "/services/chatty/logs?follow=1&stdout=1"),
    ("saved images", "GET", f"/images/get?names={IMAGE}"),
    ("an exported container", "GET", "/containers/talker/export"),
    ("copied files", "GET", "/containers/talker/archive?path=/bin"),
    ("events", "GET", "/events?since=1"),
)


@pytest.mark.parametrize(("what", "method", "path"), STREAMS, ids=[what for what, _, _ in STREAMS])
def test_a_reader_that_goes_leaves_no_open_file(host: Host, what: str, method: str, path: str) -> None:
    before = host.open_files()
    for _ in range(TIMES):
        assert host.vanish(method, path).startswith(b"HTTP/1.1 200"), what
    try:
        labs.wait(lambda: host.open_files() <= before + 1, f"open files as before {what}: {before}", 20)
    except AssertionError:
        names = [str(path.readlink()) for path in Path(f"/proc/{host.pid}/fd").iterdir()]
        raise AssertionError("\n".join(sorted(names))) from None


def test_attached_clients_that_go_leave_no_open_file(host: Host) -> None:
    before = host.open_files()
    for _ in range(TIMES):
        answer = host.vanish("POST", "/containers/talker/attach?stream=1&stdout=1&stdin=1", upgrade=True)
        assert b" 101 " in answer.splitlines()[0]
    labs.wait(lambda: host.open_files() <= before + 1, f"open files as before attaching: {before}")
    assert host.lab.json("inspect", "talker")[0]["State"]["Running"]


def test_a_client_that_leaves_its_exec_leaves_no_open_file(host: Host) -> None:
    """As in Docker, the process goes on; its output is dropped until it ends."""
    for _ in range(TIMES):
        answer = host.vanish("POST", f"/exec/{host.exec_id()}/start", b'{"Detach": false}', upgrade=True)
        assert b" 101 " in answer.splitlines()[0]
    before = host.open_files()
    host.lab.docker(
        "exec",
        "talker",
        "sh",
        "-c",
        "kill -9 $(ps | grep 'echo line' | grep -v ' 1 ' | grep -v grep | awk '{print $1}'); true",
    )
    labs.wait(lambda: host.open_files() < before, "the files of the execs to be closed")


def test_clients_that_wait_and_go_leave_no_open_file(host: Host) -> None:
    before = host.open_files()
    for path in ("/containers/talker/wait", "/containers/talker/wait?condition=removed"):
        for _ in range(TIMES):
            host.vanish("POST", path, length=0)
    query = urllib.parse.urlencode({"filters": json.dumps({"type": ["network"]})})
    for _ in range(TIMES):
        host.vanish("GET", f"/events?{query}", length=0)
    labs.wait(lambda: host.open_files() <= before + 1, f"open files as before waiting: {before}")


UPLOADS = (
    ("images to load", "POST", "/images/load"),
    ("an image to import", "POST", "/images/create?fromSrc=-&repo=half&tag=1"),
    ("files to copy", "PUT", "/containers/talker/archive?path=/tmp"),
    ("a container to create", "POST", "/containers/create?name=half"),
    ("a service to create", "POST", "/services/create"),
)


@pytest.mark.parametrize(("what", "method", "path"), UPLOADS, ids=[what for what, _, _ in UPLOADS])
def test_a_sender_that_goes_leaves_nothing_half_made(
    host: Host, images: Path, what: str, method: str, path: str
) -> None:
    before, listed = host.open_files(), host.lab.docker("images", "-q").out
    beginning = (
        images.read_bytes()[:200_000] if "create?name" not in path and "services" not in path else b'{"Image": "'
    )
    for _ in range(TIMES):
        host.vanish(method, path, beginning, length=10 * len(beginning) + 10_000_000)
    labs.wait(lambda: host.open_files() <= before + 1, f"open files as before {what}: {before}")
    assert host.lab.docker("images", "-q").out == listed
    assert "half" not in host.lab.docker("ps", "-a", "--format", "{{.Names}}").out
    assert not list(host.host.state_dir.glob("images/staging/*"))


def test_the_daemon_has_logged_no_failure(host: Host) -> None:
    assert "Traceback" not in host.host.log.read_text()
