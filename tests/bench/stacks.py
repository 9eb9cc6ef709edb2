"""Benchmark of stacks: time from ``stack deploy`` of 30 services until all run, and of a second deploy without a change."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from covey.errors import CoveyError
from tests.bench.compose_files import small_services
from tests.bench.engine_pair import Engine
from tests.bench.figures import Figure, Target
from tests.bench.subject import IMAGE, Subject, unique_name

COVEY = Path(sys.executable).parent / "covey"
SERVICES = 30
NAMESPACE_LABEL = "com.docker.stack.namespace"
DEPLOYED = f"stack deploy of {SERVICES} services until all run"
BY_DOCKER = f"{DEPLOYED}, by the docker client"
DEPLOY_OPTIONS = "    stop_grace_period: 1s\n    deploy: {endpoint_mode: dnsrr}\n"


def stacks(subject: Subject, rounds: int, *, covey: bool = True) -> list[Figure]:
    """Deploy by the engine's own client and by docker's. On Docker both are the same, and are measured once."""
    file = subject.lab.folder / "stack.yaml"
    file.write_text(small_services(SERVICES, IMAGE, DEPLOY_OPTIONS))
    try:
        return _stacks(subject, rounds, file, covey=covey)
    finally:
        file.unlink()


def _stacks(subject: Subject, rounds: int, file: Path, *, covey: bool) -> list[Figure]:
    by_docker = tuple(_deployed(subject, "docker", file) for _ in range(rounds))
    if not covey:
        return [Figure(DEPLOYED, "s", by_docker), Figure(BY_DOCKER, "s", by_docker)]
    own = tuple(_deployed(subject, COVEY, file) for _ in range(rounds))
    again = _unchanged(subject, file, rounds)
    return [Figure(DEPLOYED, "s", own), Figure(BY_DOCKER, "s", by_docker), again]


def _deploy(subject: Subject, program: str | Path, file: Path, name: str) -> float:
    """Seconds of the command, which does not wait for tasks."""
    options = ("--detach", "--resolve-image", "never", "--compose-file", file)
    return Engine(subject.hosts[0]).run_seconds(program, "stack", "deploy", *options, name)


def _deployed(subject: Subject, program: str | Path, file: Path) -> float:
    """Seconds until all tasks of a new stack run. The stack is removed."""
    name = unique_name("stack")
    began = time.monotonic()
    _deploy(subject, program, file, name)
    subject.wait(lambda: len(_running(subject, name)) == SERVICES, f"the tasks of {SERVICES} services")
    taken = time.monotonic() - began
    _remove(subject, name)
    return taken


def _unchanged(subject: Subject, file: Path, rounds: int) -> Figure:
    """Seconds of a deploy that has nothing to do."""
    name = unique_name("again")
    _deploy(subject, COVEY, file, name)
    subject.wait(lambda: len(_running(subject, name)) == SERVICES, f"the tasks of {SERVICES} services")
    before = _task_ids(subject, name)
    times = [_deploy(subject, COVEY, file, name) for _ in range(2 * rounds + 1)]
    after = _task_ids(subject, name)
    _remove(subject, name)
    if before != after:
        raise CoveyError(f"an unchanged deploy made {len(after - before)} new tasks")
    return Figure(f"stack deploy of {SERVICES} services again, unchanged", "s", tuple(times), Target(0.5))


def _tasks(subject: Subject, name: str) -> list[dict[str, Any]]:
    """All tasks of a stack."""
    found: list[dict[str, Any]] = subject.call("GET", f"/tasks?filters={_of_stack(name)}")
    return found


def _running(subject: Subject, name: str) -> list[dict[str, Any]]:
    return [task for task in _tasks(subject, name) if task["Status"]["State"] == "running"]


def _task_ids(subject: Subject, name: str) -> frozenset[str]:
    return frozenset(task["ID"] for task in _tasks(subject, name))


def _remove(subject: Subject, name: str) -> None:
    """Remove a stack and wait until no host has a container of it."""
    Engine(subject.hosts[0]).docker("stack", "rm", name)
    wanted = _of_stack(name)

    def gone() -> bool:
        return not any(
            subject.call("GET", f"/containers/json?all=1&filters={wanted}", at=host) for host in subject.hosts
        )

    subject.wait(gone, f"the removal of the stack {name}")


def _of_stack(name: str) -> str:
    """The API filter for what belongs to a stack."""
    return quote(json.dumps({"label": [f"{NAMESPACE_LABEL}={name}"]}))
