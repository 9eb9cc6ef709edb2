"""Benchmark of failover: time to a write after the leader's host is killed, and to new replicas after a worker's or the leader's host is."""

import http.client
import threading
import time

from covey.errors import CoveyError
from node.lab.layout import LabHost
from tests.bench.figures import Figure, Target
from tests.bench.subject import POLL_SECONDS, Subject, unique_name

RETRY_SECONDS = 0.02
SETTLE_SECONDS = 2.0
LIMIT_SECONDS = 90.0
REPLICAS = 10


def leader_kill(subject: Subject, rounds: int) -> Figure:
    """Kill everything on the leader's host; write through both other managers until one succeeds."""
    times = []
    for _ in range(rounds):
        leader = subject.leader()
        others = [host for host in subject.managers() if host != leader]
        time.sleep(SETTLE_SECONDS)
        writers = Writers(subject, others)
        subject.kill(leader)
        began = time.monotonic()
        times.append(writers.first_write() - began)
        subject.start(leader)
        subject.wait_whole()
    return Figure("leader host killed until a write succeeds", "s", tuple(times), Target(2.5), "12.6 s")


class Writers:
    """One writer per manager. They start together and stop at the first acknowledged write."""

    def __init__(self, subject: Subject, hosts: list[LabHost]) -> None:
        self._subject = subject
        self._begin = threading.Event()
        self._done = threading.Event()
        self._first: list[float] = []
        self._last_error = "no write was tried"
        self._threads = [threading.Thread(target=self._write, args=(host,)) for host in hosts]
        for thread in self._threads:
            thread.start()

    def first_write(self) -> float:
        """Monotonic time of the first acknowledged write.

        Raises:
            CoveyError: none succeeded in time.
        """
        self._begin.set()
        self._done.wait(LIMIT_SECONDS)
        self._done.set()
        for thread in self._threads:
            thread.join()
        if not self._first:
            raise CoveyError(
                f"no write succeeded within {LIMIT_SECONDS:g} s after the leader was killed: {self._last_error}"
            )
        return min(self._first)

    def _write(self, host: LabHost) -> None:
        self._begin.wait()
        while not self._done.is_set():
            body = {"Name": unique_name("after-the-leader"), "Data": "dGhlcmU="}
            try:
                self._subject.call("POST", "/secrets/create", body, at=host, seconds=POLL_SECONDS)
            except (CoveyError, OSError, http.client.HTTPException) as error:
                self._last_error = str(error)
                time.sleep(RETRY_SECONDS)
            else:
                self._first.append(time.monotonic())
                self._done.set()


def worker_kill(subject: Subject, rounds: int) -> Figure:
    """Kill everything on a worker's host; wait until its replicas run on other hosts."""
    times = [_replacement_seconds(subject, subject.hosts[-1]) for _ in range(rounds)]
    return Figure("worker host killed until its replicas run elsewhere", "s", tuple(times), Target(2.5), "20.3 s")


def leader_replicas(subject: Subject, rounds: int) -> Figure:
    """Kill everything on the leader's host; wait until the replicas that ran there run on other hosts."""
    times = [_replacement_seconds(subject, subject.leader()) for _ in range(rounds)]
    return Figure("leader host killed until its replicas run elsewhere", "s", tuple(times), Target(4.0))


def _replacement_seconds(subject: Subject, victim: LabHost) -> float:
    """Seconds from the kill of a host with replicas of a new service until all of them run on other hosts. The host is started again."""
    node, asked = subject.node_id(victim), next(host for host in subject.managers() if host != victim)
    name = unique_name("spread")
    subject.create_service(name, REPLICAS)
    subject.wait_running(name, REPLICAS)
    time.sleep(SETTLE_SECONDS)

    def replaced() -> bool:
        return len([task for task in subject.running(name, at=asked) if task["NodeID"] != node]) == REPLICAS

    subject.kill(victim)
    began = time.monotonic()
    subject.wait(replaced, f"{REPLICAS} replicas of {name} on other nodes")
    seconds = time.monotonic() - began
    subject.start(victim)
    subject.wait_whole()
    subject.remove_service(name)
    return seconds
