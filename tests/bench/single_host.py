"""Benchmark of one host as a Docker engine: coveyd and dockerd side by side, driven by the same docker client.

Both hosts are in one lab and are measured in turns, so that what else the machine does falls on both. A figure is the ratio
of the medians, Covey's time to Docker's; less than 1 is faster.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from node.lab import cluster, network
from node.lab import host as machine
from node.lab.image import root_file_system
from node.lab.layout import GATEWAY, Lab, LabHost
from tests.bench import computer
from tests.bench.figures import Figure, Target
from tests.support import real_engine

IMAGE = "covey-bench:1"
SMALL = "covey-bench-small:1"
REGISTRY = f"{GATEWAY}:5000"
IMAGE_BYTES = 200 * 1000 * 1000
COPY_BYTES = 500 * 1000 * 1000
LOG_LINES = 1_000_000
LISTED_CONTAINERS = 200
MEMORY_CONTAINERS = 50
AT_ONCE = 8
COMMAND_SECONDS = 300.0
SETTLE_SECONDS = 5.0


class Engine:
    """One of the two engines, on its host."""

    def __init__(self, host: LabHost) -> None:
        self.host = host
        self._environment = {**os.environ, "DOCKER_HOST": f"unix://{host.socket}"}

    def docker(self, *arguments: str | Path, stdin: Path | None = None) -> str:
        """Run the docker client. Returns its output; raises CalledProcessError."""
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(stdin.open("rb")) if stdin else subprocess.DEVNULL
            done = subprocess.run(
                ["docker", *arguments], env=self._environment, stdin=source, capture_output=True, check=True,
                timeout=COMMAND_SECONDS,
            )  # fmt: skip
        return done.stdout.decode()

    def seconds(self, *arguments: str | Path) -> float:
        """How long a docker command takes. Its output is read and dropped."""
        began = time.monotonic()
        subprocess.run(
            ["docker", *arguments], env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, check=True, timeout=COMMAND_SECONDS,
        )  # fmt: skip
        return time.monotonic() - began


class Pair(msgspec.Struct, frozen=True):
    """Both engines, and a folder for files."""

    covey: Engine
    docker: Engine
    folder: Path

    def ratio(self, name: str, bound: float, measure: Callable[[Engine], float], rounds: int) -> Figure:
        """The ratio of the medians of alternating rounds, after one round that is not counted."""
        times: dict[Engine, list[float]] = {self.covey: [], self.docker: []}
        for number in range(rounds + 1):
            for engine in (self.covey, self.docker) if number % 2 else (self.docker, self.covey):
                taken = measure(engine)
                if number:
                    times[engine].append(taken)
        ours, theirs = (statistics.median(times[engine]) for engine in (self.covey, self.docker))
        return Figure(f"{name} ({ours:.2f} s : {theirs:.2f} s)", "", (ours / theirs,), Target(bound))


@contextlib.contextmanager
def both_engines(name: str) -> Iterator[Pair]:
    """A lab with a Covey host, a Docker host and a registry; always torn down."""
    lab = Lab(name, 1, 1)
    covey, docker = lab.hosts
    with tempfile.TemporaryDirectory(prefix="covey-bench-") as folder, contextlib.ExitStack() as stack:
        lab.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lab.record.write_bytes(msgspec.json.encode(lab))
        stack.callback(cluster.down, lab)
        lab.registries_file.write_text(f'insecure-registries = ["{REGISTRY}"]\n')
        network.create_switch(lab)
        for host in lab.hosts:
            network.connect_host(lab, host)
        machine.boot(covey)
        cluster.start_daemon(covey)
        real_engine.boot(docker, f"--insecure-registry={REGISTRY}")
        stack.enter_context(_registry(lab, Path(folder)))
        pair = Pair(Engine(covey), Engine(docker), Path(folder))
        _load_images(pair)
        yield pair


def single_host(pair: Pair, rounds: int) -> list[Figure]:
    """All figures of one host."""
    few, many = rounds, 4 * rounds + 1
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


def _load_images(pair: Pair) -> None:
    root, archive = pair.folder / "root.tar", pair.folder / "image.tar"
    for name, size in ((SMALL, 0), (IMAGE, IMAGE_BYTES)):
        root.write_bytes(root_file_system(size))
        pair.covey.docker("import", root, name)
        pair.covey.docker("save", "-o", archive, name)
        pair.docker.docker("load", "-q", "-i", archive)
        archive.unlink()
    root.unlink()


@contextlib.contextmanager
def _registry(lab: Lab, folder: Path) -> Iterator[None]:
    """Debian's docker-registry on the lab's network."""
    config = folder / "registry.yml"
    storage = {"filesystem": {"rootdirectory": str(folder / "registry")}}
    config.write_text(json.dumps({"version": "0.1", "storage": storage, "http": {"addr": REGISTRY}}))
    command: Sequence[str | Path] = (
        "nsenter", f"--net=/run/netns/{lab.switch}", "docker-registry", "serve", config,
    )  # fmt: skip
    with (
        (folder / "registry.log").open("wb") as log,
        subprocess.Popen(
            command, stdout=log, stderr=log, env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"}
        ) as process,
    ):
        try:
            machine.wait_until(
                lambda: b"listening on" in (folder / "registry.log").read_bytes(), "the registry", SETTLE_SECONDS
            )
            yield
        finally:
            process.kill()
