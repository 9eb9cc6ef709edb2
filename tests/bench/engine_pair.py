"""A lab with one Covey host and one Docker host, driven by the same clients in turns, so that what else the machine does falls on both."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from node.lab import cluster, network
from node.lab import host as machine
from node.lab.image import root_file_system
from node.lab.layout import GATEWAY, Lab, LabHost
from tests.bench.figures import Figure, ratio_of
from tests.support import real_engine

SMALL = "covey-bench-small:1"
REGISTRY = f"{GATEWAY}:5000"
COMMAND_SECONDS = 300.0
START_SECONDS = 5.0


class Engine:
    """One of the two engines, on its host."""

    def __init__(self, host: LabHost) -> None:
        self.host = host

    def run(self, *command: str | Path, stdin: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
        """Run a client of the engine. Returns its output; raises CalledProcessError."""
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(stdin.open("rb")) if stdin else subprocess.DEVNULL
            done = subprocess.run(
                command, env=self._environment(environment), stdin=source, capture_output=True, check=True,
                timeout=COMMAND_SECONDS,
            )  # fmt: skip
        return done.stdout.decode()

    def run_seconds(self, *command: str | Path, environment: Mapping[str, str] | None = None) -> float:
        """How long a client takes. Its output is dropped."""
        began = time.monotonic()
        subprocess.run(
            command, env=self._environment(environment), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, check=True, timeout=COMMAND_SECONDS,
        )  # fmt: skip
        return time.monotonic() - began

    def docker(self, *arguments: str | Path, stdin: Path | None = None) -> str:
        """Run the docker client. Returns its output; raises CalledProcessError."""
        return self.run("docker", *arguments, stdin=stdin)

    def seconds(self, *arguments: str | Path) -> float:
        """How long a docker command takes. Its output is read and dropped."""
        return self.run_seconds("docker", *arguments)

    def _environment(self, more: Mapping[str, str] | None) -> dict[str, str]:
        return {**os.environ, "DOCKER_HOST": f"unix://{self.host.socket}", **(more or {})}


class Pair(msgspec.Struct, frozen=True):
    """Both engines, and a folder for files."""

    covey: Engine
    docker: Engine
    folder: Path

    def ratio(self, name: str, bound: float, measure: Callable[[Engine], float], rounds: int) -> Figure:
        """The ratio of the medians of alternating rounds, after one round that is not counted."""
        ours, theirs = self.times(measure, rounds)
        return ratio_of(name, bound, ours, theirs)

    def times(self, measure: Callable[[Engine], float], rounds: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Covey's and Docker's times of alternating rounds, after one round that is not counted."""
        ours, theirs = in_turns([lambda: measure(self.covey), lambda: measure(self.docker)], rounds)
        return ours, theirs


def in_turns(measures: Sequence[Callable[[], float]], rounds: int) -> list[tuple[float, ...]]:
    """The results of each measure, taken in turns whose order changes, after one round that is not counted."""
    times: list[list[float]] = [[] for _ in measures]
    for number in range(rounds + 1):
        order = list(enumerate(measures))
        for place, measure in order if number % 2 else reversed(order):
            taken = measure()
            if number:
                times[place].append(taken)
    return [tuple(each) for each in times]


@contextlib.contextmanager
def both_engines(name: str) -> Iterator[Pair]:
    """A lab with a Covey host, a Docker host, a small image on both, and a registry; always torn down."""
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
        load_image(pair, SMALL)
        yield pair


def load_image(pair: Pair, name: str, padding_bytes: int = 0) -> None:
    """Make an image that has the same id on both hosts."""
    root, archive = pair.folder / "root.tar", pair.folder / "image.tar"
    root.write_bytes(root_file_system(padding_bytes))
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
                lambda: b"listening on" in (folder / "registry.log").read_bytes(), "the registry", START_SECONDS
            )
            yield
        finally:
            process.kill()
