"""``covey`` as a person uses it on a real cluster: waiting for convergence, terminals, streams, exit codes; its flags mean what docker's mean."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import labs

pytestmark = pytest.mark.root

COVEY = labs.PYTHON_BIN / "covey"
QUICK = ("--stop-signal", "SIGKILL")


def covey(lab: labs.Cluster, *arguments: str, check: int | None = 0, **options: Any) -> labs.Ran:
    return labs.run([COVEY, *arguments], check=check, env=lab.environment(options.pop("on", None)), **options)


@pytest.fixture
def container(lab: labs.Cluster) -> str:
    """A container of a service on the first manager."""
    where = f"node.hostname=={lab.hosts[0].name}"
    lab.service("box", "--constraint", where, "--tty", command=["sh", "-c", "echo hello; exec sleep 1000000"])
    (task,) = lab.running("box", 1)
    return lab.container(task)


CREATES: list[Sequence[str]] = [
    (),
    ("--replicas", "0", "-e", "A=1", "--env", "B=two words", "-l", "a=1", "--container-label", "b=2"),
    ("--mode", "global", "--constraint", "node.role==worker", "--restart-condition", "none"),
    (
        "--limit-cpu",
        ".5",
        "--limit-memory",
        "64m",
        "--limit-pids",
        "20",
        "--reserve-cpu",
        "0.1",
        "--reserve-memory",
        "8MiB",
    ),
    ("--restart-delay", "1m30s", "--restart-max-attempts", "3", "--restart-window", "2h", "--stop-grace-period", "3s"),
    (
        *("--update-parallelism", "0", "--update-delay", "2s", "--update-failure-action", "rollback"),
        *("--update-monitor", "1s", "--update-max-failure-ratio", "0.5", "--update-order", "start-first"),
        *("--rollback-parallelism", "2", "--rollback-order", "start-first", "--rollback-monitor", "2s"),
    ),
    ("--secret", "source=token,target=renamed,uid=5,gid=6,mode=0400", "--secret", "other", "--config", "page"),
    ("--network", "name=front,alias=shop", "--network", "back", "--endpoint-mode", "dnsrr"),
    (
        "--mount",
        "type=volume,source=data,target=/data,volume-nocopy,volume-label=x=y",
        "--mount",
        "type=bind,src=/tmp,dst=/t,ro",
    ),
    ("--mount", "type=tmpfs,target=/scratch,tmpfs-size=1m,tmpfs-mode=1770", "--read-only", "--init", "-t"),
    ("--hostname", "box-{{.Task.Slot}}", "-u", "0:0", "-w", "/tmp", "--group", "20", "--oom-score-adj", "100"),
    ("--health-cmd", "true", "--health-interval", "1m", "--health-retries", "2", "--health-start-period", "5s"),
    (
        "--no-healthcheck",
        "--entrypoint",
        "sh -c",
        "--dns",
        "192.0.2.1",
        "--dns-option",
        "ndots:1",
        "--dns-search",
        "a.test",
    ),
    ("--host", "db:192.0.2.7", "--cap-add", "net_admin", "--cap-drop", "CAP_MKNOD", "--ulimit", "nofile=100:200"),
    (
        "--sysctl",
        "net.core.somaxconn=100",
        "--placement-pref",
        "spread=node.labels.zone",
        "--replicas-max-per-node",
        "3",
    ),
]
UPDATES: list[Sequence[str]] = [
    ("--replicas", "3"),
    ("--env-add", "A=2", "--env-add", "NEW=1", "--env-rm", "B"),
    ("--label-add", "c=3", "--label-rm", "a", "--container-label-add", "d=4", "--container-label-rm", "b"),
    ("--secret-rm", "token", "--secret-add", "other", "--config-rm", "page"),
    ("--network-rm", "front", "--network-add", "back"),
    ("--mount-rm", "/data", "--mount-add", "type=tmpfs,target=/scratch"),
    ("--constraint-rm", "node.role==manager", "--constraint-add", "node.role!=nothing"),
    ("--cap-drop", "net_admin", "--cap-add", "SYS_TIME"),
    ("--image", "covey-test:2", "--args", "sleep 2000000", "--force"),
    ("--host-rm", "db:192.0.2.7", "--host-add", "web:192.0.2.8", "--dns-rm", "192.0.2.1", "--dns-add", "192.0.2.2"),
    ("--ulimit-rm", "nofile", "--sysctl-rm", "net.core.somaxconn", "--hostname", "other", "--limit-memory", "32m"),
    (
        "--placement-pref-rm",
        "spread=node.labels.zone",
        "--update-delay",
        "1s",
        "--no-healthcheck",
        "--stop-grace-period",
        "1s",
    ),
]
RICH = (
    *("--replicas", "0", "-e", "A=1", "-e", "B=1", "-l", "a=1", "--container-label", "b=2", "--secret", "token"),
    *("--config", "page", "--network", "front", "--mount", "type=volume,source=data,target=/data"),
    *("--constraint", "node.role==manager", "--cap-add", "net_admin", "--host", "db:192.0.2.7", "--dns", "192.0.2.1"),
    *(
        "--ulimit",
        "nofile=100:200",
        "--sysctl",
        "net.core.somaxconn=100",
        "--placement-pref",
        "spread=node.labels.zone",
    ),
)


@pytest.fixture
def furnished(lab: labs.Cluster) -> labs.Cluster:
    for name in ("token", "other"):
        lab.docker("secret", "create", name, "-", stdin=name.encode())
    lab.docker("config", "create", "page", "-", stdin=b"page")
    for name in ("front", "back"):
        lab.docker("network", "create", "-d", "overlay", name)
    return lab


def spec(lab: labs.Cluster, name: str) -> dict[str, Any]:
    """What the service is asked to be, with everything that applies unsaid; emptiness aside."""

    def full(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: full(item) for key, item in value.items() if item not in (None, "", [], {}, False, 0)}
        return [full(item) for item in value] if isinstance(value, list) else value

    found = full(lab.get(f"/services/{name}?insertDefaults=true")["Spec"])
    del found["Name"]
    for kind in ("Mounts", "Secrets", "Configs", "Env"):
        found["TaskTemplate"]["ContainerSpec"].get(kind, []).sort(key=str)
    found["TaskTemplate"].get("Networks", []).sort(key=str)
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("flags", CREATES, ids=lambda flags: " ".join(flags)[:40] or "none")
def test_flags_of_create_mean_what_dockers_mean(furnished: labs.Cluster, flags: Sequence[str]) -> None:
    lab = furnished
    for name, client in (("d", ["docker"]), ("c", [str(COVEY)])):
        options = ["--detach", "--no-resolve-image", "--name", name, *QUICK, *flags]
        labs.run([*client, "service", "create", *options, labs.IMAGE, *labs.SLEEP], env=lab.environment())
    assert spec(lab, "c") == spec(lab, "d")


@pytest.mark.parametrize("flags", UPDATES, ids=lambda flags: " ".join(flags)[:40])
def test_flags_of_update_mean_what_dockers_mean(furnished: labs.Cluster, flags: Sequence[str]) -> None:
    lab = furnished
    for name, client in (("d", ["docker"]), ("c", [str(COVEY)])):
        lab.service(name, *RICH)
        options = ["--detach", "--no-resolve-image", *flags, name]
        labs.run([*client, "service", "update", *options], env=lab.environment())
    assert spec(lab, "c") == spec(lab, "d")


def test_create_returns_when_all_tasks_run_and_tells_each_step_once(lab: labs.Cluster) -> None:
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


def test_an_update_that_is_paused_ends_with_one_and_a_rollback_repairs_it(lab: labs.Cluster) -> None:
    covey(lab, "service", "create", "-q", "--name", "web", "--update-monitor", "1s", *QUICK, labs.IMAGE, *labs.SLEEP)
    ran = covey(lab, "service", "update", "--image", "nowhere/nothing:1", "web", check=1)
    assert "update paused" in ran.err
    assert "No such image" in ran.out
    assert covey(lab, "service", "rollback", "web").lines[-1] == "web: 1 of 1 tasks running"
    assert lab.get("/services/web")["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] == labs.IMAGE


def test_an_update_that_rolls_itself_back_ends_with_one(lab: labs.Cluster) -> None:
    policy = ("--update-monitor", "1s", "--update-failure-action", "rollback", "--rollback-monitor", "1s")
    covey(lab, "service", "create", "-q", "--name", "web", *policy, *QUICK, labs.IMAGE, *labs.SLEEP)
    ran = covey(lab, "service", "update", "-q", "--image", "nowhere/nothing:1", "web", check=1)
    assert "rolled back" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_interrupting_the_wait_leaves_the_service_going(lab: labs.Cluster) -> None:
    command = [COVEY, "service", "create", "--name", "web", *QUICK, "nowhere/nothing:1"]
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


def test_exec_ends_with_the_commands_code_and_keeps_streams_apart(lab: labs.Cluster, container: str) -> None:
    ran = covey(lab, "exec", container, "sh", "-c", "echo out; echo err >&2; exit 7", check=7)
    assert (ran.out, ran.err) == ("out\n", "err\n")
    big = os.urandom(3_000_000).hex().encode()
    assert covey(lab, "exec", "-i", container, "cat", stdin=big).out.encode() == big
    assert covey(lab, "exec", "-e", "A=x", "-w", "/tmp", container, "sh", "-c", "echo $A $PWD").out == "x /tmp\n"
    assert covey(lab, "exec", container, "such-a-command", check=None).code in (126, 127)
    assert (
        covey(lab, "exec", "nothing", "true", check=1).err == "Error response from daemon: No such container: nothing\n"
    )


def test_a_terminal_has_our_size_follows_it_and_is_put_back(lab: labs.Cluster, container: str) -> None:
    environment, command = lab.environment(), [str(COVEY), "exec", "-it", container, "sh"]
    process, terminal = pty.fork()
    if process == 0:
        try:
            os.execve(COVEY, command, environment)
        finally:
            os._exit(99)  # never back into the tests

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
            os.write(terminal, b"\x03")  # goes to the process inside, not to covey
        assert "ended" not in read_until("# ")
        os.write(terminal, b"exit 5\n")
        _, status = os.waitpid(process, 0)
        assert os.waitstatus_to_exitcode(status) == 5
    finally:
        os.close(terminal)


def test_logs_of_a_container_and_of_a_service(lab: labs.Cluster, container: str) -> None:
    assert covey(lab, "logs", container).out == "hello\r\n"
    lab.service("talk", "--replicas", "3", command=["sh", "-c", "echo hi; echo oops >&2; exec sleep 1000000"])
    lab.running("talk", 3)

    def complete() -> bool:
        return len(covey(lab, "service", "logs", "--raw", "talk").lines) == 3

    labs.wait(complete, "all lines")
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


def test_images_go_from_host_to_host_as_archives(lab: labs.Cluster, tmp_path: Path) -> None:
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


def test_containers_are_stopped_started_and_watched(lab: labs.Cluster, container: str) -> None:
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


def test_tokens_are_rotated_and_nodes_change(lab: labs.Cluster) -> None:
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


def test_a_worker_refuses_in_dockers_words(lab: labs.Cluster) -> None:
    ran = covey(lab, "service", "ls", check=1, on=lab.workers[0])
    docker = lab.docker("service", "ls", check=1, on=lab.workers[0])
    assert ran.err == docker.err
    assert covey(lab, "info", "--format", "{{.Swarm.ControlAvailable}}", on=lab.workers[0]).out == "false\n"
