"""``covey`` commands on a real cluster: waiting for convergence, terminals, streams, exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support import labs

pytestmark = pytest.mark.root

COVEY = labs.PYTHON_BIN / "covey"
QUICK = ("--stop-signal", "SIGKILL")


def covey(lab: labs.LabCluster, *arguments: str, check: int | None = 0, **options: Any) -> labs.CommandResult:
    return labs.run([COVEY, *arguments], check=check, env=lab.environment(options.pop("on", None)), **options)


@pytest.fixture
def container(lab: labs.LabCluster) -> str:
    """A container of a service on the first manager."""
    where = f"node.hostname=={lab.hosts[0].name}"
    lab.service("box", "--constraint", where, "--tty", command=["sh", "-c", "echo hello; exec sleep 1000000"])
    (task,) = lab.running("box", 1)
    return lab.container(task)


def test_service_create_returns_when_all_tasks_run_and_prints_each_step_once(lab: labs.LabCluster) -> None:
    said = covey(lab, "service", "create", "--name", "web", "--replicas", "4", *QUICK, labs.IMAGE, *labs.SLEEP).lines
    assert len(lab.tasks("web", state="running")) == 4
    assert re.fullmatch(r"[a-z0-9]{25}", said[0])
    assert said[-1] == "web: 4 of 4 tasks running"
    assert len(said) == len(set(said))
    said = covey(lab, "service", "scale", "web=6").lines
    assert (said[0], said[-1]) == ("web scaled to 6", "web: 6 of 6 tasks running")
    assert covey(lab, "service", "update", "-q", "--env-add", "A=1", "--update-parallelism", "0", "web").out == "web\n"
    tasks = lab.tasks("web", state="running")
    assert [task["Spec"]["ContainerSpec"]["Env"] for task in tasks] == [["A=1"]] * 6


def test_a_paused_update_exits_with_1_and_a_rollback_repairs_the_service(lab: labs.LabCluster) -> None:
    covey(lab, "service", "create", "-q", "--name", "web", "--update-monitor", "1s", *QUICK, labs.IMAGE, *labs.SLEEP)
    ran = covey(lab, "service", "update", "--image", "nowhere/nothing:1", "web", check=1)
    assert "update paused" in ran.err
    assert "No such image" in ran.out
    assert covey(lab, "service", "rollback", "web").lines[-1] == "web: 1 of 1 tasks running"
    assert lab.get("/services/web")["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] == labs.IMAGE


def test_an_update_that_is_rolled_back_automatically_exits_with_1(lab: labs.LabCluster) -> None:
    policy = ("--update-monitor", "1s", "--update-failure-action", "rollback", "--rollback-monitor", "1s")
    covey(lab, "service", "create", "-q", "--name", "web", *policy, *QUICK, labs.IMAGE, *labs.SLEEP)
    ran = covey(lab, "service", "update", "-q", "--no-resolve-image", "--image", "nowhere/nothing:1", "web", check=1)
    assert "rolled back" in ran.err
    assert "No such image: nowhere/nothing:1" in ran.err
    assert len(ran.err.splitlines()) == 2


def test_the_wait_for_an_image_that_no_node_can_get_ends_with_the_reason(lab: labs.LabCluster) -> None:
    """Regression: ``service create`` waited for ever."""
    flags = ("--name", "web", "--replicas", "2", "--restart-delay", "100ms", *QUICK)
    ran = covey(lab, "service", "create", "-q", "--no-resolve-image", *flags, "nowhere/nothing:1", check=1)
    assert "service web: its tasks are rejected again and again: " in ran.err
    assert "nowhere/nothing" in ran.err
    assert "covey service ps web" in ran.err
    assert lab.get("/services/web")["Spec"]["Name"] == "web"


def test_ctrl_c_while_waiting_leaves_the_service_running(lab: labs.LabCluster) -> None:
    # a test session started in the background ignores SIGINT, and so would its children
    command = ["env", "--default-signal=INT", COVEY, "service", "create", "--name", "web", *QUICK, "nowhere/nothing:1"]
    with subprocess.Popen(command, env=lab.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        seen = b""
        deadline = time.monotonic() + 20
        while b"No such image" not in seen and time.monotonic() < deadline:
            seen += os.read(process.stdout.fileno(), 1000)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "continues in the background" in err.decode()
    assert lab.get("/services/web")["Spec"]["Name"] == "web"


def test_exec_returns_the_exit_code_and_separates_stdout_and_stderr(lab: labs.LabCluster, container: str) -> None:
    ran = covey(lab, "exec", container, "sh", "-c", "echo out; echo err >&2; exit 7", check=7)
    assert (ran.out, ran.err) == ("out\n", "err\n")
    big = os.urandom(3_000_000).hex().encode()
    assert covey(lab, "exec", "-i", container, "cat", stdin=big).out.encode() == big
    assert covey(lab, "exec", "-e", "A=x", "-w", "/tmp", container, "sh", "-c", "echo $A $PWD").out == "x /tmp\n"
    assert covey(lab, "exec", container, "such-a-command", check=None).code in (126, 127)
    assert (
        covey(lab, "exec", "nothing", "true", check=1).err == "Error response from daemon: No such container: nothing\n"
    )


def test_exec_with_a_terminal_passes_its_size_resizes_and_ctrl_c(lab: labs.LabCluster, container: str) -> None:
    environment, command = lab.environment(), [str(COVEY), "exec", "-it", container, "sh"]
    process, terminal = pty.fork()
    if process == 0:
        try:
            os.execve(COVEY, command, environment)
        finally:
            os._exit(99)  # the child must never return into the tests

    def read_until(pattern: str) -> str:
        seen, deadline = "", time.monotonic() + 20
        while not re.search(pattern, seen):
            assert time.monotonic() < deadline, seen
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 4096).decode()
        return seen

    def resize(rows: int, columns: int) -> None:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    try:
        read_until(r"# ")
        for rows, columns in ((31, 97), (42, 111)):
            resize(rows, columns)
            deadline = time.monotonic() + 10
            while True:
                os.write(terminal, b"stty size; echo d''one\n")
                if f"{rows} {columns}" in read_until("done"):
                    break
                assert time.monotonic() < deadline
        os.write(terminal, b"echo st''arted; sleep 100; echo en''ded\n")
        read_until("started")
        while not select.select([terminal], [], [], 0.3)[0]:
            os.write(terminal, b"\x03")  # sent to the process in the container, not to covey
        assert "ended" not in read_until("# ")
        os.write(terminal, b"exit 5\n")
        _, status = os.waitpid(process, 0)
        assert os.waitstatus_to_exitcode(status) == 5
    finally:
        os.close(terminal)


def test_logs_of_a_container_and_of_a_service(lab: labs.LabCluster, container: str) -> None:
    assert covey(lab, "logs", container).out == "hello\r\n"
    lab.service("talk", "--replicas", "3", command=["sh", "-c", "echo hi; echo oops >&2; exec sleep 1000000"])
    lab.running("talk", 3)

    def complete() -> bool:
        return len(covey(lab, "service", "logs", "--raw", "talk").lines) == 3

    labs.wait(complete, "all log lines")
    for options in (
        (),
        ("--no-task-ids",),
        ("--no-resolve",),
        ("--no-trunc",),
        ("--details",),
        ("--raw",),
        ("-n", "1"),
    ):
        ran = covey(lab, "service", "logs", *options, "talk")
        docker = lab.docker("service", "logs", *options, "talk")
        assert sorted(ran.lines) == sorted(docker.lines), options
        assert sorted(ran.err.splitlines()) == sorted(docker.err.splitlines()), options
    assert covey(lab, "service", "logs", "nothing", check=1).err.strip().endswith("no such task or service: nothing")


def test_an_image_is_copied_to_another_host_as_an_archive(lab: labs.LabCluster, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    covey(lab, "tag", labs.IMAGE, "copied:1")
    covey(lab, "save", "-o", str(archive), "copied:1")
    other = lab.workers[0]
    assert covey(lab, "load", "-i", str(archive), on=other).out == "Loaded image: copied:1\n"
    ids = [covey(lab, "image", "inspect", "-f", "{{.Id}}", "copied:1", on=host).out for host in (lab.hosts[0], other)]
    assert ids[0] == ids[1]
    for host in (lab.hosts[0], other):
        assert "Untagged: copied:1" in covey(lab, "rmi", "copied:1", on=host).out
    missing = tmp_path / "nothing"
    assert covey(lab, "load", "-i", str(missing), check=1).err == f"covey: {missing}: No such file or directory\n"
    (tmp_path / "broken").write_bytes(b"no archive" * 1000)
    assert len(covey(lab, "load", "-i", str(tmp_path / "broken"), check=1).err.splitlines()) == 1


def test_container_commands_pause_top_stats_kill_wait_and_events(lab: labs.LabCluster, container: str) -> None:
    assert covey(lab, "pause", container).out == f"{container}\n"
    assert "Paused" in covey(lab, "ps", "--format", "{{.Status}}").out
    covey(lab, "unpause", container)
    assert "sleep 1000000" in covey(lab, "top", container).out
    row = json.loads(covey(lab, "stats", "--no-stream", "--format", "json", container).out)
    assert row["PIDs"] == "1"
    covey(lab, "kill", "-s", "KILL", container)
    assert covey(lab, "wait", container).out == "137\n"
    assert json.loads(
        covey(lab, "events", "--since", "5m", "--until", "0s", "-f", "event=kill", "--format", "json").lines[-1]
    )


def test_join_tokens_are_rotated_and_nodes_are_updated(lab: labs.LabCluster) -> None:
    before = covey(lab, "swarm", "join-token", "-q", "worker").out
    after = covey(lab, "swarm", "join-token", "-q", "--rotate", "worker").out
    assert before != after
    assert covey(lab, "swarm", "join-token", "-q", "worker").out == after
    assert "covey swarm join --token" in covey(lab, "swarm", "join-token", "manager").out
    name = lab.workers[0].name
    covey(lab, "node", "update", "--label-add", "zone=a", "--availability", "drain", name)
    found = lab.nodes()[name]["Spec"]
    assert (found["Labels"], found["Availability"]) == ({"zone": "a"}, "drain")
    covey(lab, "node", "update", "--label-rm", "zone", "--availability", "active", name)
    assert "Availability:" in covey(lab, "node", "inspect", "--pretty", name).out
    assert covey(lab, "node", "update", "--label-rm", "zone", name, check=1).err.startswith(
        "covey: key zone doesn't exist"
    )


def test_a_worker_refuses_cluster_commands_with_the_same_message_as_docker(lab: labs.LabCluster) -> None:
    ran = covey(lab, "service", "ls", check=1, on=lab.workers[0])
    docker = lab.docker("service", "ls", check=1, on=lab.workers[0])
    assert ran.err == docker.err
    assert covey(lab, "info", "--format", "{{.Swarm.ControlAvailable}}", on=lab.workers[0]).out == "false\n"
