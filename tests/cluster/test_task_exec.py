"""Execs and copies in tasks on other nodes, through any manager, and what becomes of them when a party goes away."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from node.lab import host as machine
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root
COVEY = labs.PYTHON_BIN / "covey"
PAUSE_SECONDS = 0.05
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def quartet(images: Path) -> Iterator[LabCluster]:
    """Three managers and a worker, which runs the task of the service `web`."""
    with labs.running_lab("exec", 3, 1, archive=images) as found:
        found.service("web", "--constraint", "node.role==worker", "--replicas", "2")
        found.running("web", 2)
        yield found


def covey(lab: LabCluster, *arguments: str, on: LabHost | None = None, **options: Any) -> labs.CommandResult:
    return labs.run([COVEY, *arguments], env=lab.environment(on or lab.managers[1]), **options)


class Terminal:
    """A covey command with a terminal of its own."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (33, 99))
        self._process = subprocess.Popen(
            [COVEY, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_shown(self, text: str, seconds: float = labs.SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < deadline, (text, self.shown)
            if select.select([self._master], [], [], PAUSE_SECONDS)[0]:
                try:
                    self.shown += os.read(self._master, 1 << 16).decode(errors="replace")
                except OSError:
                    assert text in self.shown, (text, self.shown)

    def end(self) -> int:
        code = self._process.wait(labs.SECONDS)
        os.close(self._master)
        return code


def test_a_terminal_in_a_task_on_another_node(quartet: LabCluster) -> None:
    """Input, the size of the terminal, Ctrl-C and the exit code all reach through two hosts."""
    script = "trap 'exit 7' INT; stty size; read word; echo got $word; while :; do sleep 0.1; done"
    environment = quartet.environment(quartet.managers[2])
    terminal = Terminal(environment, "service", "exec", "-it", "web.2", "sh", "-c", script)
    terminal.wait_shown("33 99")
    terminal.type("hello\n")
    terminal.wait_shown("got hello")
    terminal.type("\x03")
    assert terminal.end() == 7


def test_output_exit_code_and_input_of_a_command_in_a_task(quartet: LabCluster) -> None:
    task = min(quartet.tasks("web"), key=lambda found: found["Slot"])
    script = "cat; echo oops >&2; exit 3"
    for ref in (task["ID"], "web.1", f"web.1.{task['ID']}"):
        done = covey(quartet, "exec", "-i", ref, "sh", "-c", script, stdin=b"hello\n", check=3)
        assert (done.out, done.err) == ("hello\n", "oops\n")
    assert covey(quartet, "service", "exec", "web", "echo", "one").out == "one\n"


def test_the_low_level_client_of_the_sdk(quartet: LabCluster) -> None:
    api = docker.APIClient(base_url=f"unix://{quartet.managers[0].socket}", timeout=60)
    task = quartet.tasks("web")[0]
    body = {"Cmd": ["sh", "-c", "echo out; exit 5"], "AttachStdout": True, "AttachStderr": True}
    answer = api._post_json(api._url("/tasks/{0}/exec", task["ID"]), data=body)  # noqa: SLF001
    assert answer.status_code == 201, answer.text
    exec_id = answer.json()["Id"]
    assert api.exec_start(exec_id) == b"out\n"
    found = docker.APIClient(base_url=f"unix://{quartet.managers[1].socket}").exec_inspect(exec_id)
    assert (found["ID"], found["ExitCode"], found["Running"]) == (exec_id, 5, False)


def test_the_event_says_who_ran_what_where(quartet: LabCluster) -> None:
    manager = quartet.managers[1]
    since = str(time.time() - 1)
    covey(quartet, "exec", "web.1", "echo", "secret-word", on=manager)
    shown = quartet.docker(
        "events",
        "--since",
        since,
        "--until",
        str(time.time() + 1),
        "--filter",
        "type=service",
        "--format",
        "{{json .}}",
        on=manager,
    )
    events = [json.loads(line) for line in shown.lines]
    actions = {event["Action"]: event["Actor"]["Attributes"] for event in events if "exec" in event["Action"]}
    assert {"exec_create: echo secret-word", "exec_start: echo secret-word"} <= set(actions)
    told = actions["exec_start: echo secret-word"]
    assert (told["name"], told["node.name"], told["user"]) == ("web", quartet.workers[0].name, "root")


def test_a_directory_there_and_back(quartet: LabCluster, tmp_path: Path) -> None:
    source = tmp_path / "site"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "page").write_text("hello")
    (source / "link").symlink_to("deep/page")
    covey(quartet, "cp", str(source), "web.1:/tmp/site")
    covey(quartet, "exec", "web.1", "grep", "-q", "hello", "/tmp/site/link")
    covey(quartet, "cp", "web.1:/tmp/site", str(tmp_path / "back"))
    assert (tmp_path / "back" / "deep" / "page").read_text() == "hello"
    assert (tmp_path / "back" / "link").readlink() == Path("deep/page")
    missing = covey(quartet, "cp", "web.1:/nowhere", str(tmp_path), check=1)
    assert "Could not find the file /nowhere" in missing.err


def resident_kib(lab: LabCluster, host: LabHost) -> int:
    """Memory of a host's daemon."""
    status = lab.inside(host, "cat", f"/proc/{machine.daemon_pid(host)}/status").lines
    return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


def test_a_large_file_both_ways_in_flat_memory(quartet: LabCluster, tmp_path: Path) -> None:
    """100 MiB pass a daemon, a manager and the daemon of the node, none of which grows by half of it."""
    manager, worker = quartet.managers[1], quartet.workers[0]
    large = tmp_path / "large"
    large.write_bytes(os.urandom(MEBIBYTE) * 100)
    covey(quartet, "exec", "web.1", "true", on=manager)
    before = [resident_kib(quartet, host) for host in (manager, worker)]
    begin = time.monotonic()
    covey(quartet, "cp", str(large), "web.1:/tmp/large", on=manager)
    covey(quartet, "cp", "web.1:/tmp/large", str(tmp_path / "back"), on=manager)
    print(f"200 MiB in {time.monotonic() - begin:.1f} s")
    after = [resident_kib(quartet, host) for host in (manager, worker)]
    grown = [now - old for now, old in zip(after, before, strict=True)]
    assert max(grown) < 50 * 1024, grown
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (large, tmp_path / "back")]
    assert digests[0] == digests[1]
    covey(quartet, "exec", "web.1", "rm", "/tmp/large")


def test_a_worker_is_refused_by_name(quartet: LabCluster) -> None:
    worker = quartet.workers[0]
    for arguments in (("exec", "web.1", "true"), ("service", "exec", "web", "true"), ("cp", "web.1:/etc/hosts", "-")):
        refused = covey(quartet, *arguments, on=worker, check=1)
        assert "This node is not a swarm manager" in refused.err
    status, answer = quartet.request("POST", "/tasks/web.1/exec", {"Cmd": ["true"]}, on=worker)
    assert status == 503
    assert "Worker nodes can't be used" in answer["message"]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/tasks/nothing/exec", 404, "No such task: nothing"),
        ("/exec/abc.def/start", 404, "abc"),
    ],
)
def test_what_is_not_there_is_refused(quartet: LabCluster, path: str, status: int, message: str) -> None:
    found, answer = quartet.request("POST", path, {"Cmd": ["true"]} if "tasks" in path else {"Detach": False})
    assert (found, message in answer["message"]) == (status, True), answer


def test_an_exec_survives_a_change_of_leader(quartet: LabCluster) -> None:
    """Its data passes the manager that was asked and no other."""
    leader = quartet.wait_leader()
    asked = next(host for host in quartet.managers if host != leader)
    terminal = Terminal(quartet.environment(asked), "exec", "-it", "web.1", "sh")
    terminal.type("echo be''gin\n")
    terminal.wait_shown("begin")
    quartet.kill(leader)
    try:
        quartet.wait_leader(but=leader, on=asked)
        terminal.type("echo af''ter\n")
        terminal.wait_shown("after")
        covey(quartet, "exec", "web.1", "true", on=asked)
        terminal.type("exit 4\n")
        assert terminal.end() == 4
    finally:
        quartet.start(leader)
        quartet.wait_ready()


def test_the_loss_of_the_node_ends_the_exec_with_its_name(quartet: LabCluster) -> None:
    terminal = Terminal(quartet.environment(quartet.managers[0]), "exec", "-it", "web.1", "sh")
    terminal.type("echo be''gin\n")
    terminal.wait_shown("begin")
    quartet.kill(quartet.workers[0])
    try:
        terminal.wait_shown(f"lost node {quartet.workers[0].name}")
        assert terminal.end() != 0
    finally:
        quartet.start(quartet.workers[0])
        quartet.wait_ready()
        quartet.running("web", 2)
