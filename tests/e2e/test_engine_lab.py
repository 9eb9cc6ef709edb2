"""A session with the real docker client and SDK on two lab hosts: services, logs, updates, drain, stacks, events.

The tests run in file order: the first one creates the service ``web``, which the others use and the last one removes.
"""

from __future__ import annotations

import functools
import io
import json
import os
import secrets
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

pytestmark = pytest.mark.root

LAB_SECONDS = 120
LOOP = "while true; do echo tick; sleep 0.2; done"


class Lab:
    """One manager and one worker."""

    def __init__(self) -> None:
        self.name = f"e{secrets.token_hex(2)}"
        self.manager, self.worker = f"{self.name}-1", f"{self.name}-2"

    def run(self, *args: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "node.lab", *args], capture_output=True, text=True, timeout=LAB_SECONDS, check=False
        )
        assert done.returncode == 0, (args, done.stdout, done.stderr)
        return done.stdout

    @functools.cache  # noqa: B019  the lab exists as long as the module
    def socket(self, host: str) -> str:
        line = next(line for line in self.run("env", host).splitlines() if "DOCKER_HOST=" in line)
        return line.split("=", 1)[1].strip("'\"")

    def docker(self, *args: str, host: str = "", stdin: bytes = b"", check: int | None = 0) -> tuple[str, str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "DOCKER_HOST": self.socket(host or self.manager),
        }
        done = subprocess.run(
            ["docker", *args], input=stdin, capture_output=True, timeout=60, env=environment, check=False
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        if check is not None:
            assert done.returncode == check, (args, done.returncode, out, err)
        return out, err


def wait_until(condition: Callable[[], object], seconds: float = 60) -> object:
    """First true value of the condition."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.1)
    return value


def busybox_root() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add("/bin/busybox", "bin/busybox")
        for name in ("sh", "sleep", "cat", "echo", "nslookup", "ls", "id"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        for name in ("tmp", "etc", "proc", "sys", "dev", "run"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
    return out.getvalue()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab()
    try:
        made.run("up", "--managers", "1", "--workers", "1", "--name", made.name)
        made.docker("import", "-c", "ENV PATH=/bin", "-", "box:1", stdin=busybox_root())
        archive = tmp_path_factory.mktemp("image") / "box.tar"
        made.docker("save", "-o", str(archive), "box:1")
        made.docker("load", "-i", str(archive), host=made.worker)
        yield made
    finally:
        made.run("down", "--name", made.name)


def running(lab: Lab, service: str) -> list[str]:
    """Hosts of the running tasks of a service."""
    out, _ = lab.docker(
        "service", "ps", service, "-f", "desired-state=running", "--format", "{{.CurrentState}}\t{{.Node}}"
    )
    return [line.split("\t")[1] for line in out.splitlines() if line.startswith("Running")]


def containers_of(lab: Lab, service: str) -> list[tuple[str, str]]:
    """(host, container id) of a service's running containers."""
    label = f"label=com.docker.swarm.service.name={service}"
    return [
        (host, line)
        for host in (lab.manager, lab.worker)
        for line in lab.docker("ps", "-q", "--filter", label, host=host)[0].split()
    ]


def test_a_service_with_a_secret_and_a_network_runs_on_both_hosts(lab: Lab) -> None:
    lab.docker("network", "create", "-d", "overlay", "back")
    lab.docker("secret", "create", "key", "-", stdin=b"sesame")
    _, err = lab.docker(
        "service", "create", "-q", "--name", "web", "--network", "back", "--secret", "key", "--replicas", "2", "--init",
        "--stop-grace-period", "1s",
        "box:1", "sh", "-c", LOOP,
    )  # fmt: skip
    assert "could not be accessed on a registry" in err, "the client warns that it found no digest and continues"
    assert sorted(running(lab, "web")) == [lab.manager, lab.worker]
    for host, container in containers_of(lab, "web"):
        out, _ = lab.docker("exec", container, "cat", "/run/secrets/key", host=host)
        assert out == "sesame"
        out, _ = lab.docker("exec", container, "nslookup", "web", host=host)
        assert "10.0." in out
    _, err = lab.docker("secret", "rm", "key", check=1)
    assert "in use" in err
    _, err = lab.docker("network", "rm", "back", check=1)
    assert "in use" in err


def test_service_logs_of_every_host_are_available_on_the_manager(lab: Lab) -> None:
    out, _ = lab.docker("service", "logs", "--tail", "3", "web")
    assert {line.split("@")[1].split()[0] for line in out.splitlines()} == {lab.manager, lab.worker}
    process = subprocess.Popen(
        ["docker", "service", "logs", "--follow", "--timestamps", "--tail", "0", "web"],
        stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DOCKER_HOST": lab.socket(lab.manager)},
    )  # fmt: skip
    timer = threading.Timer(30, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        seen = [process.stdout.readline().decode() for _ in range(4)]
    finally:
        timer.cancel()
        process.kill()
        process.wait()
    assert all(line.rstrip().endswith("| tick") and line[:2] == "20" for line in seen), seen


def test_a_service_is_updated_scaled_and_rolled_back(lab: Lab) -> None:
    lab.docker("service", "update", "-q", "--env-add", "A=b", "--update-parallelism", "2", "web")
    out, _ = lab.docker("service", "inspect", "web", "--format", "{{.UpdateStatus.State}}")
    assert out.strip() == "completed"
    host, container = containers_of(lab, "web")[0]
    out, _ = lab.docker("exec", container, "sh", "-c", "echo $A", host=host)
    assert out.strip() == "b"
    lab.docker("service", "scale", "-d", "web=4")
    wait_until(lambda: len(running(lab, "web")) == 4)
    lab.docker("service", "rollback", "-d", "web")
    wait_until(lambda: len(running(lab, "web")) == 2)


def test_a_drained_node_loses_its_tasks_and_is_used_again_when_active(lab: Lab) -> None:
    lab.docker("node", "update", "--availability", "drain", lab.worker)
    wait_until(lambda: set(running(lab, "web")) == {lab.manager} and len(running(lab, "web")) == 2)
    lab.docker("node", "update", "--availability", "active", "--label-add", "zone=a", lab.worker)
    lab.docker(
        "service", "create", "-d", "--name", "placed", "--constraint", "node.labels.zone==a", "box:1", "sleep", "1000"
    )
    wait_until(lambda: running(lab, "placed") == [lab.worker])
    lab.docker("service", "rm", "placed")


def test_a_missing_image_is_named_in_the_task_error(lab: Lab) -> None:
    lab.docker("service", "create", "-d", "--no-resolve-image", "--name", "bad", "nosuch:1")

    def error_names_image() -> bool:
        out, _ = lab.docker("service", "ps", "bad", "--no-trunc", "--format", "{{.Error}}")
        return "nosuch:1" in out

    wait_until(error_names_image)
    lab.docker("service", "rm", "bad")


def test_a_worker_refuses_cluster_commands_and_shows_its_local_objects(lab: Lab) -> None:
    _, err = lab.docker("service", "ls", host=lab.worker, check=1)
    assert "Worker nodes can't be used to view or modify cluster state" in err
    out, _ = lab.docker("network", "ls", "--format", "{{.Name}}", host=lab.worker)
    came_with_tasks = {"docker_gwbridge", "ingress"}
    assert set(out.split()) - came_with_tasks == {"bridge", "host", "none"}
    out, _ = lab.docker("info", "--format", "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}", host=lab.worker)
    assert out.split() == ["active", "false"]


def test_join_tokens_are_rotated(lab: Lab) -> None:
    before, _ = lab.docker("swarm", "join-token", "-q", "worker")
    lab.docker("swarm", "join-token", "--rotate", "worker")
    after, _ = lab.docker("swarm", "join-token", "-q", "worker")
    assert before.startswith("SWMTKN-1-")
    assert after.startswith("SWMTKN-1-")
    assert before != after


STACK = """
services:
  web:
    image: box:1
    command: sleep 1000
    networks: [front]
    configs: [{source: conf, target: /tmp/conf}]
    healthcheck: {test: ["CMD", "echo"], interval: 1s}
    stop_grace_period: 1s
    deploy: {replicas: 2, resources: {limits: {memory: 64M}}, restart_policy: {condition: on-failure}}
networks: {front: {}}
configs: {conf: {file: ./conf.txt}}
"""


def test_a_stack_is_deployed_redeployed_without_changes_and_removed(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "conf.txt").write_text("colour = red\n")
    (tmp_path / "stack.yml").write_text(STACK)
    deploy = ["stack", "deploy", "--detach", "-c", str(tmp_path / "stack.yml"), "shop"]
    lab.docker(*deploy)
    wait_until(lambda: len(running(lab, "shop_web")) == 2)
    tasks, _ = lab.docker("stack", "ps", "-q", "shop")
    lab.docker(*deploy)
    host, container = containers_of(lab, "shop_web")[0]
    assert lab.docker("exec", container, "cat", "/tmp/conf", host=host)[0] == "colour = red\n"
    wait_until(lambda: "(healthy)" in lab.docker("ps", "--filter", f"id={container}", host=host)[0])
    assert lab.docker("stack", "ps", "-q", "shop")[0] == tasks, "deploying the same file again restarted tasks"
    lab.docker("stack", "rm", "shop")
    out, _ = lab.docker("network", "ls", "--format", "{{.Name}}")
    assert "shop_front" not in out.split()


def test_the_sdk_sees_the_same_cluster(lab: Lab) -> None:
    client = docker.DockerClient(lab.socket(lab.manager), timeout=60)
    try:
        service = client.services.get("web")
        assert service.scale(3)
        wait_until(
            lambda: (
                len([t for t in service.tasks({"desired-state": "running"}) if t["Status"]["State"] == "running"]) == 3
            )
        )
        assert {node.attrs["Description"]["Hostname"] for node in client.nodes.list()} == {lab.manager, lab.worker}
        assert client.swarm.attrs["JoinTokens"]["Worker"].startswith("SWMTKN-1-")
        assert b"tick" in b"".join(line for line, _ in zip(service.logs(stdout=True, tail=2), range(2), strict=False))
        here = client.info()["Swarm"]["NodeID"]
        tasks = [task for task in service.tasks({"desired-state": "running"}) if task["NodeID"] == here]
        container = client.containers.get(tasks[0]["Status"]["ContainerStatus"]["ContainerID"])
        assert container.exec_run("echo hi").output == b"hi\n"
    finally:
        client.close()


def test_events_of_containers_are_listed_for_a_period(lab: Lab) -> None:
    since = str(int(time.time()))
    lab.docker("service", "create", "-d", "--no-resolve-image", "--name", "short", "--constraint", "node.role==manager",
               "--stop-grace-period", "1s", "box:1", "sleep", "1000")  # fmt: skip
    wait_until(lambda: running(lab, "short") == [lab.manager])
    until = str(int(time.time()) + 1)
    out, _ = lab.docker("events", "--since", since, "--until", until, "--format", "{{json .}}")
    actions = {(event["Type"], event["Action"]) for event in map(json.loads, out.splitlines())}
    assert {("container", "create"), ("container", "start")} <= actions
    lab.docker("service", "rm", "short", "web")
    wait_until(lambda: not containers_of(lab, "web"))
    lab.docker("secret", "rm", "key")
    lab.docker("network", "rm", "back")
