"""Benchmark of one host as a Docker engine: coveyd and dockerd side by side, driven by the same docker client.

A figure is the ratio of the medians, Covey's time to Docker's; less than 1 is faster.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from node.lab.image import root_file_system
from tests.bench import computer
from tests.bench.engine_pair import REGISTRY, SMALL, Engine, Pair, load_image
from tests.bench.figures import Figure, Target

IMAGE = "covey-bench:1"
IMAGE_BYTES = 200 * 1000 * 1000
COPY_BYTES = 500 * 1000 * 1000
LOG_LINES = 1_000_000
LISTED_CONTAINERS = 200
MEMORY_CONTAINERS = 50
AT_ONCE = 8
SETTLE_SECONDS = 5.0


def single_host(pair: Pair, rounds: int) -> list[Figure]:
    """All figures of one host."""
    few, many = rounds, 4 * rounds + 1
    load_image(pair, IMAGE, IMAGE_BYTES)
    figures = [
        pair.ratio(f"run --rm true, network {net}", bound, _run_true(net), many)
        for net, bound in (("none", 0.6), ("host", 0.6), ("bridge", 0.7))
    ]
    figures.append(pair.ratio(f"{AT_ONCE} x run --rm true at once", 0.5, _run_at_once, few + 1))
    figures += _registry_figures(pair, few)
    figures += _container_figures(pair, few, many)
    figures.append(_ps(pair, many))
    figures.append(_memory(pair))
    return figures


def _run_true(net: str) -> Callable[[Engine], float]:
    return lambda engine: engine.seconds("run", "--rm", "--network", net, SMALL, "true")


def _run_at_once(engine: Engine) -> float:
    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda _: engine.seconds("run", "--rm", SMALL, "true"), range(AT_ONCE)))
    return time.monotonic() - began


def _registry_figures(pair: Pair, rounds: int) -> list[Figure]:
    pulled = f"{REGISTRY}/pulled:1"
    pair.docker.docker("tag", IMAGE, pulled)
    pair.docker.docker("push", "-q", pulled)
    pair.docker.docker("rmi", pulled)
    pushes, archive = iter(range(1000)), pair.folder / "root.tar"

    def push(engine: Engine) -> float:
        name = f"{REGISTRY}/pushed-{next(pushes)}:1"
        archive.write_bytes(root_file_system(IMAGE_BYTES))  # new, so that the registry has no layer of it
        engine.docker("import", archive, name)
        archive.unlink()
        taken = engine.seconds("push", "-q", name)
        engine.docker("rmi", name)
        return taken

    def pull(engine: Engine) -> float:
        taken = engine.seconds("pull", "-q", pulled)
        engine.docker("rmi", pulled)
        return taken

    for engine in (pair.covey, pair.docker):
        engine.docker("rmi", IMAGE)
    figures = [pair.ratio("pull of 200 MB from a registry", 1.0, pull, rounds)]
    figures.append(pair.ratio("push of 200 MB to a registry", 1.0, push, rounds))
    return figures


def _container_figures(pair: Pair, few: int, many: int) -> list[Figure]:
    source, target = pair.folder / "copied", pair.folder / "back"
    source.write_bytes(os.urandom(1_000_000) * (COPY_BYTES // 1_000_000))
    script = f"i=0; while [ $i -lt {LOG_LINES} ]; do echo line $i of the log; i=$((i+1)); done"
    for engine in (pair.covey, pair.docker):
        engine.docker("run", "-d", "--name", "sleeper", SMALL, "sleep", "100000")
        engine.docker("run", "--name", "writer", "--network", "none", SMALL, "sh", "-c", script)

    def copy_in(engine: Engine) -> float:
        return engine.seconds("cp", source, "sleeper:/copied")

    def copy_out(engine: Engine) -> float:
        taken = engine.seconds("cp", "sleeper:/copied", target)
        target.unlink()
        return taken

    figures = [
        pair.ratio("exec of true", 0.7, lambda engine: engine.seconds("exec", "sleeper", "true"), many),
        pair.ratio("logs of 1,000,000 lines", 1.0, lambda engine: engine.seconds("logs", "writer"), few),
        pair.ratio("cp of 500 MB into a container", 1.0, copy_in, few),
        pair.ratio("cp of 500 MB out of a container", 1.0, copy_out, few),
    ]
    source.unlink()
    for engine in (pair.covey, pair.docker):
        engine.docker("rm", "-f", "sleeper", "writer")
    return figures


def _ps(pair: Pair, rounds: int) -> Figure:
    for engine in (pair.covey, pair.docker):
        with ThreadPoolExecutor(4) as pool:
            numbers = range(LISTED_CONTAINERS)
            list(pool.map(lambda n, engine=engine: engine.docker("create", "--name", f"c{n}", SMALL, "true"), numbers))
    figure = pair.ratio(
        f"ps -a with {LISTED_CONTAINERS} containers", 1.0, lambda engine: engine.seconds("ps", "-a"), rounds
    )
    for engine in (pair.covey, pair.docker):
        engine.docker("container", "prune", "-f")
    return figure


def _memory(pair: Pair) -> Figure:
    """Memory of the daemon and the monitors of containers that run."""
    used = []
    for engine in (pair.covey, pair.docker):
        names = [f"m{number}" for number in range(MEMORY_CONTAINERS)]
        for name in names:
            engine.docker("run", "-d", "--name", name, "--network", "none", SMALL, "sleep", "100000")
        time.sleep(SETTLE_SECONDS)
        used.append(computer.memory_of(engine.host, monitors=True).pss)
        engine.docker("rm", "-f", *names)
    name = f"memory with {MEMORY_CONTAINERS} containers, daemon and monitors ({used[0]:.0f} MiB : {used[1]:.0f} MiB)"
    return Figure(name, "", (used[0] / used[1],), Target(0.5))
