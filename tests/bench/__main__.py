"""``python -m tests.bench``: run all measurements, print the table, tear everything down.

Exits with 0 if every figure was measured, whether its target is met or missed, and with 1 if one could not be measured.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from covey.errors import CoveyError
from node.lab import cluster
from node.lab.layout import Lab
from tests.bench import computer, memory
from tests.bench.builds import builds
from tests.bench.compose_projects import loading, projects
from tests.bench.consensus import KILLS, consensus
from tests.bench.dispatch import dispatch
from tests.bench.dns import dns
from tests.bench.engine_pair import Pair, both_engines
from tests.bench.failures import leader_kill, leader_replicas, worker_kill
from tests.bench.figures import Figure, Target, table, with_peer, with_ratio
from tests.bench.idle import idle
from tests.bench.image_sharing import image_sharing
from tests.bench.network_state import network_state
from tests.bench.peer_swarm import swarm_lab
from tests.bench.propagation import propagation
from tests.bench.published_ports import published_ports
from tests.bench.scale import scale
from tests.bench.services import services
from tests.bench.single_host import single_host
from tests.bench.stacks import BY_DOCKER, DEPLOYED, stacks
from tests.bench.store import store
from tests.bench.subject import Subject
from tests.bench.throughput import encryption, throughput
from tests.bench.vips import vips
from tests.bench.writes import secrets

SECTIONS = ("memory", "services", "stacks", "secrets", "throughput", "encryption", "propagation", "worker", "leader")
HOST_SECTIONS = ("host", "builds", "compose")
COMPONENT_SECTIONS = (
    "store",
    "consensus",
    "scale",
    "dispatch",
    "network-state",
    "vips",
    "ports",
    "dns",
    "idle",
    *HOST_SECTIONS,
    "images",
)
RATIOS = {"TCP, overlay": Target(1.0, at_least=True), DEPLOYED: Target(0.4), BY_DOCKER: Target(0.4)}
"""Targets of figures as multiples of Docker Swarm's in the same run."""
IMAGE_BYTES = 100 * 1000 * 1000
T = TypeVar("T")
SOURCE = "* measured once on a machine of this kind (Docker Engine 20.10.24): see docs/benchmarks.md"


class Run:
    """Figures so far, and the sections that could not be measured."""

    def __init__(self, only: list[str]) -> None:
        self.figures: list[Figure] = []
        self.failures: list[str] = []
        self._only = only

    def wants(self, *sections: str) -> bool:
        return not self._only or any(section in self._only for section in sections)

    def measure(self, section: str, work: Callable[[], list[Figure]]) -> None:
        """Measure one section. A failure is recorded and does not stop the others."""
        if not self.wants(section):
            return
        print(f"== {section}  (machine {computer.busy_share():.0%} busy before)", flush=True)
        began = time.monotonic()
        try:
            found = work()
        except Exception as error:
            self.failures.append(f"{section}: {error}")
            print(f"   could not be measured: {error}", flush=True)
            return
        self.figures += found
        for figure in found:
            values = ", ".join(f"{value:.2f}" for value in figure.values)
            print(f"   {figure.name}: {values} {figure.unit}", flush=True)
        print(f"   section took {time.monotonic() - began:.0f} s", flush=True)


@contextlib.contextmanager
def covey_lab(lab: Lab) -> Iterator[Subject]:
    """A Covey lab with its image and network; always torn down."""
    with cluster.running(lab):
        subject = Subject(lab)
        subject.prepare(IMAGE_BYTES)
        yield subject


def measure_cluster(run: Run, subject: Subject, *, rounds: int, kills: int, virtual: bool = True) -> None:
    """All measurements that need a cluster. Kills come last, because they leave traces."""
    run.measure("memory", lambda: memory.with_tasks(subject))
    run.measure("services", lambda: services(subject, rounds))
    run.measure("stacks", lambda: stacks(subject, rounds, covey=virtual))
    run.measure("memory", lambda: memory.current(subject, "after services were created and removed"))
    run.measure("secrets", lambda: secrets(subject, rounds))
    run.measure("throughput", lambda: throughput(subject, rounds, virtual=virtual))
    if virtual:
        run.measure("encryption", lambda: encryption(subject, rounds))
        run.measure("propagation", lambda: propagation(subject, rounds))
    run.measure("worker", lambda: [worker_kill(subject, kills)])
    run.measure("leader", lambda: [leader_kill(subject, kills), leader_replicas(subject, kills)])


def measure_host(run: Run, pair: Pair, rounds: int) -> None:
    """All measurements of one host that has Docker's engine beside it."""
    run.measure("host", lambda: single_host(pair, rounds))
    run.measure("builds", lambda: builds(pair, rounds))
    run.measure("compose", lambda: projects(pair, rounds))


def in_lab(run: Run, lab: contextlib.AbstractContextManager[T], work: Callable[[T], None]) -> None:
    """Run the work in a lab. A lab that does not start or stop is a failure."""
    try:
        with lab as found:
            work(found)
    except (CoveyError, OSError, subprocess.SubprocessError) as error:
        run.failures.append(f"the lab: {error}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one or two rounds of everything")
    parser.add_argument("--peer", action="store_true", help="measure Docker Swarm too (installs Debian's docker.io)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=(*SECTIONS, *COMPONENT_SECTIONS),
        help="one section; may be repeated",
    )
    parser.add_argument("--name", default="bench", help="name of the lab")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rounds, kills = (1, 2) if options.quick else (3, 5)
    head = computer.describe()
    print(head, flush=True)
    run, peer = Run(options.only), Run(options.only)
    lab = Lab(options.name, 3, 2)
    if run.wants(*SECTIONS):
        in_lab(run, covey_lab(lab), lambda subject: measure_cluster(run, subject, rounds=rounds, kills=kills))
    run.measure("store", lambda: store(rounds))
    run.measure("consensus", lambda: consensus(kills=5 if options.quick else KILLS))
    run.measure("scale", lambda: scale(rounds))
    run.measure("dispatch", lambda: dispatch(rounds))
    run.measure("network-state", lambda: network_state(rounds))
    run.measure("vips", lambda: vips(rounds))
    run.measure("ports", lambda: published_ports(options.name, rounds))
    run.measure("dns", lambda: dns(rounds))
    run.measure("idle", lambda: idle(options.name, rounds))
    run.measure("compose", lambda: loading(rounds))
    if run.wants(*HOST_SECTIONS):
        in_lab(run, both_engines(f"{options.name}-one"), lambda pair: measure_host(run, pair, rounds))
    run.measure("images", lambda: image_sharing(options.name, rounds))
    if options.peer:
        print("\nDocker Swarm", flush=True)
        in_lab(
            peer,
            swarm_lab(lab, IMAGE_BYTES),
            lambda subject: measure_cluster(peer, subject, rounds=rounds, kills=kills, virtual=False),
        )
    figures = with_peer(run.figures, peer.figures)
    for name, target in RATIOS.items():
        figures = with_ratio(figures, name, target)
    print(f"\n{head}\n\n{table(figures)}\n\n{SOURCE}")
    failures = [*run.failures, *(f"Docker Swarm: {failure}" for failure in peer.failures)]
    for failure in failures:
        print(f"not measured: {failure}", file=sys.stderr)
    if options.json:
        rows = [{**msgspec.to_builtins(figure), "verdict": figure.verdict} for figure in figures]
        options.json.write_text(json.dumps({"machine": head, "figures": rows, "failures": failures}, indent=1))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
