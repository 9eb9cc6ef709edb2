"""Terminals, logs, exec and stats of single containers, through the docker client on a real daemon."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from node.lab import cluster
from node.lab import host as machine
from tests.support import labs
from tests.support.labs import IMAGE, SECONDS, CommandResult, LabCluster, unique

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("streams", 1, init_cluster=False, archive=images) as running:
        yield running


@pytest.fixture
def name(lab: LabCluster) -> Iterator[str]:
    """A name for a container, which is removed after the test."""
    made = unique("c")
    yield made
    lab.docker("rm", "--force", made, check=None)


def create(
    lab: LabCluster, name: str, *options: str, script: str = "sleep 1000", check: int | None = 0
) -> CommandResult:
    return lab.docker(
        "run", "--detach", "--name", name, "--network", "none", *options, IMAGE, "sh", "-c", script, check=check
    )


class Session:
    """A docker command on a terminal of its own."""

    def __init__(self, lab: LabCluster, *arguments: str) -> None:
        self.seen = ""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            try:
                os.execvpe("docker", ["docker", *arguments], lab.environment())
            finally:
                os._exit(99)  # the child must never return into the tests

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def expect(self, pattern: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not re.search(pattern, self.seen):
            assert time.monotonic() < deadline, self.seen
            if select.select([self.terminal], [], [], 0.2)[0]:
                self.seen += os.read(self.terminal, 4096).decode()
        self.seen = re.split(pattern, self.seen, maxsplit=1)[-1]

    def exit_code(self) -> int:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                if select.select([self.terminal], [], [], 0.1)[0]:
                    os.read(self.terminal, 4096)
            except OSError:  # the command has ended
                return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        raise AssertionError(f"docker did not end: {self.seen}")


@contextmanager
def session(lab: LabCluster, *arguments: str) -> Iterator[Session]:
    made = Session(lab, *arguments)
    try:
        yield made
    finally:
        os.close(made.terminal)


# Terminals and attach


def test_a_terminal_session_takes_input_and_gives_the_exit_code(lab: LabCluster, name: str) -> None:
    with session(lab, "run", "-it", "--name", name, IMAGE, "sh") as shell:
        shell.expect("# ")
        shell.type("tty; echo a$((1+1))b\n")
        shell.expect(r"/dev/pts/\d+\s+a2b")
        shell.type("exit 7\n")
        assert shell.exit_code() == 7


def test_detach_keys_leave_the_container_running_and_are_an_event(lab: LabCluster, name: str) -> None:
    since = str(time.time())
    with session(lab, "run", "-it", "--name", name, "--detach-keys", "ctrl-x,x", IMAGE, "sh") as shell:
        shell.expect("# ")
        shell.type("\x18x")
        assert shell.exit_code() == 0
    assert lab.json("inspect", "-f", "{{json .State.Running}}", name) is True
    with session(lab, "attach", name) as shell:
        shell.type("echo a$((1+1))b\n")  # the answer comes once the client has put the terminal in raw mode
        shell.expect("a2b")
        shell.type("\x10\x11")
        assert shell.exit_code() in {0, 1}  # the client reports its own detach keys as an error
    client = attach(lab, name, "stdin=1&stdout=1")
    client.sendall(b"\x10\x11")
    while client.recv(4096):
        pass
    assert lab.json("inspect", "-f", "{{json .State.Running}}", name) is True
    events = lab.docker("events", "--since", since, "--until", str(time.time()), "--filter", f"container={name}").out
    assert len(re.findall("container attach", events)) == 3
    assert len(re.findall("container detach", events)) == 1  # docker itself ends at its keys and does not send them


def test_the_end_of_input_reaches_the_process_and_its_output_comes_back(lab: LabCluster) -> None:
    data = os.urandom(300_000)
    command = ["docker", "run", "--rm", "-i", "--network", "none", IMAGE, "cat"]
    done = subprocess.run(command, input=data, env=lab.environment(), capture_output=True, timeout=SECONDS, check=True)
    assert done.stdout == data


def test_output_of_both_streams_is_kept_apart(lab: LabCluster) -> None:
    ran = lab.docker("run", "--rm", "--network", "none", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 3", check=3)
    assert (ran.out, ran.err) == ("out\n", "err\n")


def test_attach_is_refused_in_dockers_words(lab: LabCluster, name: str) -> None:
    create(lab, name)
    lab.docker("pause", name)
    status, answer = lab.request("POST", f"/v1.41/containers/{name}/attach?stream=1&stdout=1")
    assert (status, answer["message"]) == (409, f"container {name} is paused, unpause the container before attach")
    lab.docker("unpause", name)
    status, answer = lab.request("POST", f"/v1.41/containers/{name}/attach?stream=1&detachKeys=foo")
    assert (status, answer["message"]) == (400, "Invalid detach keys (foo) provided")
    status, answer = lab.request("GET", f"/v1.41/containers/{name}/attach/ws?stream=1")
    assert (status, answer["message"]) == (400, "not websocket protocol")


def test_a_client_that_vanishes_leaves_no_connection_behind(lab: LabCluster, name: str) -> None:
    """The container says nothing, so only the hang-up tells that the client has gone."""
    create(lab, name)
    before = descriptors(lab)
    clients = [attach(lab, name, "stdout=1") for _ in range(5)]
    assert descriptors(lab) >= before + 10
    for client in clients:
        client.close()
    labs.wait(lambda: descriptors(lab) <= before + 1, "the end of the attaches")


def test_attach_over_a_websocket_carries_raw_bytes_both_ways(lab: LabCluster, name: str) -> None:
    create(lab, name, "-i", script="cat")
    client = connect(lab)
    key = base64.b64encode(os.urandom(16)).decode()
    client.sendall(
        f"GET /v1.41/containers/{name}/attach/ws?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: d\r\n"
        f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    file = client.makefile("rb")
    assert b"101" in file.readline()
    while file.readline() != b"\r\n":
        pass
    text, mask = b"hello\n", b"\1\2\3\4"
    client.sendall(bytes([0x82, 0x80 | len(text)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text)))
    head = file.read(2)
    assert head == bytes([0x82, len(text)])
    assert file.read(head[1]) == text
    client.close()
    assert lab.json("inspect", "-f", "{{json .State.Running}}", name) is True


def connect(lab: LabCluster) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(SECONDS)
    client.connect(str(lab[1].socket))
    return client


def attach(lab: LabCluster, name: str, query: str) -> socket.socket:
    """A hijacked connection to the container's stdio."""
    client = connect(lab)
    head = f"POST /v1.41/containers/{name}/attach?stream=1&{query} HTTP/1.1\r\nHost: d\r\n"
    client.sendall(f"{head}Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += client.recv(1)
    assert b"101 UPGRADED" in answer
    return client


def descriptors(lab: LabCluster) -> int:
    """How many files the daemon has open."""
    return len(lab.inside(lab[1], "ls", f"/proc/{machine.daemon_pid(lab[1])}/fd").lines)


def test_resizing_reaches_the_terminal_and_bad_sizes_are_refused(lab: LabCluster, name: str) -> None:
    create(lab, name, "-t")
    for query, status in (("h=31&w=97", 200), ("h=1", 400), ("h=x&w=1", 400), ("h=-1&w=1", 400)):
        assert lab.request("POST", f"/v1.41/containers/{name}/resize?{query}")[0] == status
    with session(lab, "exec", "-it", name, "sh", "-c", "stty size </proc/1/fd/0") as shell:
        shell.expect(r"31 97\r\n")


# Exec


def test_exec_runs_with_its_own_settings(lab: LabCluster, name: str) -> None:
    create(lab, name, "-e", "A=container", "-e", "B=kept")
    script = "echo $A $B; pwd; id -u; cat; exit 5"
    ran = lab.docker(
        "exec", "-i", "-e", "A=exec", "-w", "/tmp", "-u", "1000", name, "sh", "-c", script, stdin=b"in", check=5
    )
    assert ran.out == "exec kept\n/tmp\n1000\nin"


EXEC_FAILURES = [
    (("nope",), 127, 'exec: "nope": executable file not found in $PATH'),
    (("/etc",), 126, 'exec: "/etc": permission denied'),
    (("-u", "nobody-here", "true"), 126, "unable to find user nobody-here: no matching entries in passwd file"),
]


def test_exec_that_cannot_run_says_why(lab: LabCluster, name: str) -> None:
    create(lab, name)
    for arguments, code, words in EXEC_FAILURES:
        options, command = arguments[:-1], arguments[-1]
        ran = lab.docker("exec", *options, name, command, check=code)
        assert words in ran.out + ran.err


def test_an_exec_is_listed_until_it_ends_and_gone_with_the_run(lab: LabCluster, name: str) -> None:
    create(lab, name)
    _, made = lab.request("POST", f"/v1.41/containers/{name}/exec", {"Cmd": ["sleep", "1000"]})
    url = f"/v1.41/exec/{made['Id']}"
    assert lab.request("POST", f"{url}/resize?h=1&w=1")[0] == 409
    assert lab.request("POST", f"{url}/start", {"Detach": True})[0] == 200
    status, answer = lab.request("POST", f"{url}/start", {"Detach": True})
    assert (status, answer["message"]) == (409, f"Error: Exec command {made['Id']} is already running")
    status, text = lab.request(
        "POST", f"{url}/start", {}
    )  # with a stream the refusal is in it, as Compose's watch expects
    assert (status, text[8:].strip()) == (200, f"Error: Exec command {made['Id']} is already running")
    assert lab.get(f"{url}/json")["Pid"] > 0
    assert lab.json("inspect", "-f", "{{json .ExecIDs}}", name) == [made["Id"]]
    lab.docker("pause", name)
    assert lab.request("POST", f"/v1.41/containers/{name}/exec", {"Cmd": ["true"]})[0] == 409
    lab.docker("kill", name)
    labs.wait(lambda: lab.request("GET", f"{url}/json")[0] == 404, "the end of the exec")


# Logs


def test_logs_are_filtered_and_prefixed(lab: LabCluster, name: str) -> None:
    options = (
        "-l",
        "team=a b",
        "-e",
        "STAGE=x",
        "--log-opt",
        "labels=team",
        "--log-opt",
        "env=STAGE",
        "--log-opt",
        "tag={{.Name}}",
    )
    create(lab, name, *options, script="echo one; echo two >&2; usleep 300000; printf three")  # two pipes have no order
    lab.docker("wait", name)
    assert sorted(lab.docker("logs", name).out.splitlines()) == ["one", "three"]
    assert lab.docker("logs", name).err == "two\n"
    line = lab.docker("logs", "--details", "--timestamps", "--tail", "1", name).out
    assert re.fullmatch(rf"[\d-]+T[\d:]+\.\d{{9}}Z STAGE=x,tag={name},team=a\+b three", line), line
    moment = line.split(" ")[0]
    assert lab.docker("logs", "--since", moment, name).out == "three"
    assert lab.docker("logs", "--until", "2020-01-01T00:00:00", name).out == ""
    assert lab.docker("logs", "--tail", "0", name).out == ""
    assert lab.request("GET", f"/v1.41/containers/{name}/logs")[1]["message"].startswith("Bad parameters")


def test_a_line_of_many_pieces_is_one_line(lab: LabCluster, name: str) -> None:
    create(lab, name, script="head -c 100000 /dev/zero | tr '\\0' x; echo; echo end")
    lab.docker("wait", name)
    assert lab.docker("logs", name).out == "x" * 100_000 + "\nend\n"
    assert lab.docker("logs", "--tail", "2", name).out == "x" * 100_000 + "\nend\n"


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_a_follower_reads_through_rotation_and_the_newest_files_stay(lab: LabCluster, name: str, driver: str) -> None:
    """Three times as much is written as the files hold, because rotation comes a moment after a file is full."""
    options = (
        "--log-driver",
        driver,
        "--log-opt",
        "max-size=100k",
        "--log-opt",
        "max-file=3",
        "--log-opt",
        "compress=true",
    )
    lab.docker(
        "create",
        "--name",
        name,
        *options,
        IMAGE,
        "sh",
        "-c",
        "i=0; while [ $i -lt 8000 ]; do i=$((i+1)); echo $i; usleep 500; [ $((i%8)) = 0 ] && head -c 900 /dev/zero | tr '\\0' y && echo; done",
    )
    ran = lab.docker("start", "--attach", name)
    assert [int(line) for line in ran.out.splitlines() if "y" not in line] == list(range(1, 8001))
    kept = [int(line) for line in lab.docker("logs", name).out.splitlines() if line.isdecimal()]
    assert kept == list(range(kept[0], 8001))
    assert kept[0] > 1


@pytest.mark.parametrize("lines", [12_000, 400_000])
def test_a_log_that_is_written_faster_than_rotation_looks_has_no_gap(lab: LabCluster, name: str, lines: int) -> None:
    """The container writes more than its files hold and ends before the first regular look."""
    options = ("--log-opt", "max-size=100k", "--log-opt", "max-file=3")
    lab.docker("run", "--name", name, *options, IMAGE, "seq", "1", str(lines))
    kept = [int(line) for line in lab.docker("logs", name).out.split()]
    assert kept == list(range(kept[0], lines + 1))
    assert len(kept) > 5000


def test_a_followed_log_ends_with_the_container(lab: LabCluster, name: str) -> None:
    create(lab, name, script="echo first; sleep 1; echo last")
    assert lab.docker("logs", "--follow", name).out == "first\nlast\n"


def test_log_drivers_that_keep_or_take_nothing_are_named(lab: LabCluster, name: str) -> None:
    create(lab, name, "--log-driver", "none")
    assert "configured logging driver does not support reading" in lab.docker("logs", name, check=1).err
    for options, words in (
        (("--log-driver", "nope"), 'error looking up logging plugin nope: plugin "nope" not found'),
        (("--log-opt", "bad=1"), "unknown log opt 'bad' for json-file log driver"),
        (("--log-opt", "max-size=x"), "failed to initialize logging driver: invalid size: 'x'"),
        (("--log-driver", "journald"), "failed to initialize logging driver: journald is not enabled on this host"),
        (("--log-driver", "syslog", "--log-opt", "syslog-address=tcp://127.0.0.1:1"), "connection refused"),
    ):
        other = unique("refused")
        assert words in create(lab, other, *options, check=125).err
        lab.docker("rm", other, check=None)


def test_syslog_gets_every_line_although_the_daemon_crashes(lab: LabCluster, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(f"{folder}/log")
        server.settimeout(SECONDS)
        options = ("--log-opt", f"syslog-address=unixgram://{folder}/log", "--log-opt", "tag=t-{{.Name}}")
        create(
            lab,
            name,
            "--log-driver",
            "syslog",
            *options,
            script="i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo n$i; usleep 10000; done",
        )
        seen: list[str] = []

        def read_to(last: str) -> None:
            while not seen or seen[-1] != last:
                found = re.search(rf"^<30>.* t-{name}\[\d+\]: (n\d+)\n$", server.recv(4096).decode())
                assert found is not None
                if found[1] not in seen:  # a crash sends its last second again
                    seen.append(found[1])

        read_to("n20")
        cluster.crash(lab[1])
        lab.start(lab[1])
        read_to("n200")
        assert seen == [f"n{number}" for number in range(1, 201)]
        assert lab.docker("logs", "--tail", "1", name).out == "n200\n"


# Stats


def test_stats_count_network_block_io_and_processors(lab: LabCluster, name: str) -> None:
    lab.docker("run", "--detach", "--name", name, IMAGE, "sh", "-c", "while :; do :; done")
    found: Any = lab.get(f"/v1.41/containers/{name}/stats?stream=0")
    cpu, before = found["cpu_stats"], found["precpu_stats"]
    used = cpu["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    total = cpu["system_cpu_usage"] - before["system_cpu_usage"]
    assert 0.05 < used / total * cpu["online_cpus"] <= 1.5
    assert found["networks"]["eth0"].keys() >= {"rx_bytes", "tx_bytes", "rx_packets", "tx_dropped"}
    assert found["memory_stats"]["usage"] > 0
    assert found["pids_stats"]["current"] == 1
    once = lab.get(f"/v1.41/containers/{name}/stats?stream=0&one-shot=1")
    assert once["preread"] == "0001-01-01T00:00:00Z"
    assert "system_cpu_usage" not in once["precpu_stats"]
    assert re.search(r"\d+% +\d", lab.docker("stats", "--no-stream", name).out)
    lab.docker("kill", name)
    stopped = lab.get(f"/v1.41/containers/{name}/stats?stream=0")
    assert (stopped["read"], stopped["memory_stats"]) == ("0001-01-01T00:00:00Z", {})


def test_a_stream_of_stats_ends_with_the_removal(lab: LabCluster, name: str) -> None:
    create(lab, name)
    client = connect(lab)
    client.sendall(f"GET /v1.41/containers/{name}/stats HTTP/1.0\r\nHost: d\r\n\r\n".encode())
    file = client.makefile("rb")
    while file.readline() != b"\r\n":
        pass
    first = json.loads(file.readline())
    assert first["name"] == f"/{name}"
    lab.docker("rm", "--force", name)
    while file.readline():
        pass
    client.close()
