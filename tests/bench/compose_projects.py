"""Benchmark of Compose files: loading one of 200 services, and `up` of ten, beside the real Docker Compose on both engines."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cli.compose.session import application_of
from cli.stack.loader import load_stack
from compose.project.loader import load_project
from compose.project.model import ProjectOptions
from covey.errors import CoveyError
from tests.bench.compose_files import large_services, small_services
from tests.bench.engine_pair import SMALL, Engine, Pair, in_turns
from tests.bench.figures import Figure, Target, ratio_of
from tests.support.real_compose import compose_program

COVEY = Path(sys.executable).parent / "covey"
LOADED = 200
STARTED = 10
NAME = "covey-bench"


def loading(rounds: int) -> list[Figure]:
    """Wall-clock and processor seconds to load a file of 200 services, as a project and as a stack, in a process that has loaded one before."""
    with tempfile.TemporaryDirectory(prefix="covey-bench-") as folder:
        file = Path(folder, "compose.yaml")
        file.write_text(large_services(LOADED))
        options = ProjectOptions(files=(str(file),), environment={}, name=NAME, directory=folder)
        return [
            *_load("project", lambda: application_of(load_project(options), ()), rounds),
            *_load("stack", lambda: load_stack(NAME, [str(file)], {}), rounds),
        ]


def _load(kind: str, load: Callable[[], object], rounds: int) -> list[Figure]:
    load()
    wall, processor = [], []
    for _ in range(2 * rounds + 1):
        began, began_cpu = time.monotonic(), time.process_time()
        load()
        wall.append(time.monotonic() - began)
        processor.append(time.process_time() - began_cpu)
    name = f"Compose file of {LOADED} services loaded as a {kind}"
    return [
        Figure(name, "s", tuple(wall), Target(0.3)),
        Figure("the same, processor time", "s", tuple(processor), Target(0.3)),
    ]


def projects(pair: Pair, rounds: int) -> list[Figure]:
    """`up` of ten services by both programs, and `up` again without a change."""
    file = pair.folder / "compose.yaml"
    file.write_text(small_services(STARTED, SMALL))
    covey = (COVEY, "compose", "--project-name", NAME, "--file", file)
    real = (compose_program(), "--project-name", NAME, "--file", file)
    ours, theirs, crossed = in_turns(
        [
            lambda: _up(pair.covey, covey),
            lambda: _up(pair.docker, real),
            lambda: _up(pair.covey, real),
        ],
        rounds,
    )
    name = f"compose up of {STARTED} services"
    return [
        ratio_of(f"{name}, covey on Covey beside Docker Compose on Docker", 0.7, ours, theirs),
        ratio_of(f"{name}, Docker Compose on Covey beside the same on Docker", 0.8, crossed, theirs),
        _unchanged(pair.covey, covey, rounds),
    ]


def _up(engine: Engine, program: Sequence[str | Path]) -> float:
    """Seconds of ``up`` from nothing, which is left behind."""
    taken = engine.run_seconds(*program, "up", "--detach")
    if (running := len(_started(engine))) != STARTED:
        raise CoveyError(f"{running} of {STARTED} services run on {engine.host.name}")
    engine.run(*program, "down", "--timeout", "0")
    return taken


def _unchanged(engine: Engine, program: Sequence[str | Path], rounds: int) -> Figure:
    """Seconds of an ``up`` that has nothing to do."""
    engine.run(*program, "up", "--detach")
    before = _started(engine)
    times = [engine.run_seconds(*program, "up", "--detach") for _ in range(2 * rounds + 1)]
    after = _started(engine)
    engine.run(*program, "down", "--timeout", "0")
    if before != after:
        raise CoveyError(f"an unchanged up restarted containers: {sorted(after - before)}")
    return Figure(f"compose up of {STARTED} services again, unchanged", "s", tuple(times), Target(0.5))


def _started(engine: Engine) -> frozenset[str]:
    """The ids of the project's running containers with when they started."""
    ids = engine.docker("ps", "--quiet", "--no-trunc", "--filter", f"label=com.docker.compose.project={NAME}").split()
    if not ids:
        return frozenset()
    lines = engine.docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", *ids).splitlines()
    return frozenset(lines)
