"""Benchmark of a daemon that has nothing to do: 100 containers on a network of 1,000 services, nothing created, nothing ended.

What it does then is done for ever on every host: heartbeats, the self-check of the networks once a minute, health checks of the daemon's own
parts, DNS. By itself: ``python -m tests.bench.idle``.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from node.lab import cluster
from node.lab import host as machine
from node.lab.layout import Lab
from tests.bench.figures import Figure, Target, table
from tests.bench.subject import NETWORK, Subject

CONTAINERS, SERVICES = 100, 1_000
SETTLE_SECONDS = 15.0
CHECK_SECONDS = 72.0
"""The longest time between two self-checks, so that each measurement has one."""
_AT_ONCE = 4


def idle(name: str, rounds: int) -> list[Figure]:
    lab = Lab(f"{name}-idle", 1, 1)
    with cluster.running(lab):
        subject = Subject(lab)
        subject.prepare(1_000)
        _fill(subject)
        time.sleep(SETTLE_SECONDS)
        shares = tuple(_share(subject) for _ in range(rounds))
    title = f"idle daemon, {CONTAINERS} containers, {SERVICES:,} services: share of a core"
    return [Figure(title, "%", shares, Target(2))]


def _fill(subject: Subject) -> None:
    """The services have no tasks: their VIPs are on the network all the same. The containers are on the second host."""
    worker = subject.hosts[1]

    def service(number: int) -> None:
        subject.create_service(f"idle{number}", 0, mode="vip")

    def container(number: int) -> None:
        body = {"Image": subject.image, "HostConfig": {"NetworkMode": NETWORK}}
        made = subject.call("POST", f"/containers/create?name=idle{number}", body, at=worker)["Id"]
        subject.call("POST", f"/containers/{made}/start", at=worker)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(service, range(SERVICES)))
        list(pool.map(container, range(CONTAINERS)))


def _share(subject: Subject) -> float:
    """The processor time of the second host's daemon, in percent of one core."""
    inner, init = machine.daemon_pid(subject.hosts[1]), machine.init_pid(subject.hosts[1])
    status = Path(f"/proc/{init}/root/proc/{inner}/stat")

    def used() -> float:
        words = status.read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    before, began = used(), time.monotonic()
    time.sleep(CHECK_SECONDS)
    return 100 * (used() - before) / (time.monotonic() - began)


if __name__ == "__main__":
    print(table(idle("bench", int((*sys.argv, "1")[1]))))
