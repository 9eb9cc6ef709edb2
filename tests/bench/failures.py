"""How long a cluster takes to go on after a host's sudden end."""

import http.client
import threading
import time

from covey.errors import CoveyError
from node.lab.layout import LabHost
from tests.bench.figures import Figure, Target
from tests.bench.subject import POLL_SECONDS, Subject, fresh

RETRY_SECONDS = 0.02
SETTLE_SECONDS = 2.0
LIMIT_SECONDS = 90.0
REPLICAS = 10


def leader_kill(subject: Subject, rounds: int) -> Figure:
    """Everything on the leader's host dies at once; both other managers are asked to write until one of them has."""
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
    """One writer a manager, which begin together; the first acknowledged write ends all."""

    def __init__(self, subject: Subject, hosts: list[LabHost]) -> None:
        self._subject = subject
        self._begin = threading.Event()
        self._done = threading.Event()
        self._first: list[float] = []
        self._last_error = "none was tried"
        self._threads = [threading.Thread(target=self._write, args=(host,)) for host in hosts]
        for thread in self._threads:
            thread.start()

    def first_write(self) -> float:
        """The time of the first acknowledged write.

        Raises:
            CoveyError: none succeeded in time.
        """
        self._begin.set()
        self._done.wait(LIMIT_SECONDS)
        self._done.set()
        for thread in self._threads:
            thread.join()
        if not self._first:
            raise CoveyError(f"no write succeeded within {LIMIT_SECONDS:g} s of the leader's end: {self._last_error}")
        return min(self._first)

    def _write(self, host: LabHost) -> None:
        self._begin.wait()
        while not self._done.is_set():
            body = {"Name": fresh("after-the-leader"), "Data": "dGhlcmU="}
            try:
                self._subject.call("POST", "/secrets/create", body, at=host, seconds=POLL_SECONDS)
            except (CoveyError, OSError, http.client.HTTPException) as error:
                self._last_error = str(error)
                time.sleep(RETRY_SECONDS)
            else:
                self._first.append(time.monotonic())
                self._done.set()


def worker_kill(subject: Subject, rounds: int) -> Figure:
    """Everything on a worker's host dies at once; its replicas run on the other hosts."""
    times = []
    victim = subject.hosts[-1]
    node = subject.node_id(victim)
    for _ in range(rounds):
        name = fresh("spread")
        subject.create_service(name, REPLICAS)
        subject.wait_running(name, REPLICAS)
        time.sleep(SETTLE_SECONDS)
        subject.kill(victim)
        began = time.monotonic()
        _wait_elsewhere(subject, name, node)
        times.append(time.monotonic() - began)
        subject.start(victim)
        subject.wait_whole()
        subject.remove_service(name)
    return Figure("worker host killed until its replicas run elsewhere", "s", tuple(times), Target(8.0), "20.3 s")


def _wait_elsewhere(subject: Subject, service: str, node: str) -> None:
    def elsewhere() -> bool:
        return len([task for task in subject.running(service) if task["NodeID"] != node]) == REPLICAS

    subject.wait(elsewhere, f"{REPLICAS} replicas of {service} on other nodes")
