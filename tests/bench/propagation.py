"""Benchmark of changes on their way to other hosts: from when the leader's API tells of a task to the names on a host without that task.

The commit is earlier than what the API tells by one poll and its answer, so the figure is short of the commit's by that.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator

from covey.errors import CoveyError, DeadlineError
from node.lab import host as machine
from node.lab.layout import LabHost
from tests.bench.figures import Figure, Target
from tests.bench.subject import Subject, unique_name
from tests.bench.throughput import container_of, pin

CHANGES = 10
PAUSE_SECONDS = 0.005
SECONDS = 30.0
_WATCHER = """
import select, socket, struct, sys, time
name = b"".join(bytes([len(part)]) + part.encode() for part in sys.argv[1].split(".")) + b"\\0"
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.connect(("127.0.0.11", 53)); link.settimeout(1)
before = -1
while not select.select([sys.stdin], [], [], 0.005)[0]:  # until it is closed
    link.send(struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + name + struct.pack(">2H", 1, 1))
    try:
        found = struct.unpack_from(">4H", link.recv(4096))[3]
    except TimeoutError:
        continue
    if found != before:
        print(time.time(), found, flush=True)
        before = found
"""


def propagation(subject: Subject, rounds: int) -> list[Figure]:
    """A task more and a task less, by turns, until `tasks.NAME` has as many addresses in a container of another host."""
    here, there = subject.hosts[-2:]
    changing, watching = unique_name("changing"), unique_name("watching")
    pin(subject, changing, here, "vip")
    pin(subject, watching, there, "vip")
    _, inside = container_of(subject, there, watching)
    delays = []
    with _watched(there, inside, f"tasks.{changing}") as seen:
        _count(seen, 1)
        for number in range(CHANGES * rounds):
            replicas = 2 - number % 2
            subject.scale(changing, replicas)
            committed = _committed(subject, changing, replicas)
            delays.append(max(_count(seen, replicas) - committed, 0.0))
    for name in (changing, watching):
        subject.remove_service(name)
    return [
        Figure(
            "a task's change, from when the leader tells it to the names on another host",
            "s",
            tuple(delays),
            Target(0.15, worst=0.5),
        )
    ]


def _committed(subject: Subject, name: str, replicas: int) -> float:
    """When the leader first told that so many tasks run."""
    deadline, leader = time.time() + SECONDS, subject.leader()
    while time.time() < deadline:
        if len(subject.running(name, at=leader)) == replicas:
            return time.time()
        time.sleep(PAUSE_SECONDS)
    raise DeadlineError(f"{replicas} tasks of {name} took longer than {SECONDS:g} s")


@contextlib.contextmanager
def _watched(host: LabHost, inside: list[str], name: str) -> Iterator["subprocess.Popen[str]"]:
    command = machine.command_inside(host, [*inside, sys.executable, "-c", _WATCHER, name])
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.communicate(timeout=SECONDS)


def _count(process: "subprocess.Popen[str]", wanted: int) -> float:
    """When the name had so many addresses."""
    assert process.stdout is not None
    for line in process.stdout:
        moment, found = line.split()
        if int(found) == wanted:
            return float(moment)
    raise CoveyError("the watcher of the names ended")
