"""Nemesis: plans faults from a seed and injects them.

``plan`` is pure. A step names its victim by rule (the leader, or a host by number), because the leader is known only when the step begins.
Invariant: a fault counts as struck only if it took effect: a killed process was alive, a full disk failed a write.
"""

import contextlib
import itertools
import random
import signal
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from enum import StrEnum

import msgspec

from node.lab.layout import EtcdMember, LabHost
from tests.chaos.hosts import Arena, Engine


class Fault(StrEnum):
    KILL_MANAGER = "kill-manager"
    KILL_HOST = "kill-host"
    CRASH_DAEMON = "crash-daemon"
    PAUSE = "pause"
    CUT = "cut"
    DEAF = "deaf"
    """The host sends but receives nothing."""
    DUMB = "dumb"
    """The host receives but its packets are dropped."""
    SPLIT = "split"
    """A minority with the victim on one side, all others on the other."""
    FULL_DISK = "full-disk"
    CLOCK = "clock"
    KILL_ALL = "kill-all"
    """Every manager process at once."""
    ETCD_KILL = "etcd-kill"
    ETCD_PAUSE = "etcd-pause"
    ETCD_CUT = "etcd-cut"
    """The manager reaches the other managers but no etcd member."""
    ETCD_FULL = "etcd-full"
    """The database reaches its quota."""


_ETCD_FAULTS = (Fault.ETCD_KILL, Fault.ETCD_PAUSE, Fault.ETCD_CUT, Fault.ETCD_FULL)
FAULTS = {
    Engine.RAFT: tuple(fault for fault in Fault if fault not in _ETCD_FAULTS),
    Engine.ETCD: tuple(Fault),
}
"""Possible faults of each consensus backend."""


LENGTHS_SECONDS = (0.3, 1.5, 3.5)
QUIET_SECONDS = (0.3, 1.5)
CLOCK_OFFSETS = (3600.0, -3600.0, 7.0, -7.0, 40_000.0)
LEADER = 0
MANAGER_SECONDS = 3.0
"""Time in which a daemon restarts its manager."""
LONGER_SECONDS = 90.0
"""Maximum extension of a run until every required fault has struck."""


class Step(msgspec.Struct, frozen=True):
    """``host`` counts from 1; LEADER is the leader at that moment. ``also`` is a second fault at the same time, always on another host."""

    fault: Fault
    host: int
    seconds: float
    quiet: float
    offset: float = 0
    also: tuple[Fault, int] | None = None


def plan(seed: int, managers: int, faults: Sequence[Fault], skip: int = 0) -> Iterator[Step]:
    """Endless steps, without the first ``skip``."""
    return itertools.islice(_plan(seed, managers, faults), skip, None)


def _plan(seed: int, managers: int, faults: Sequence[Fault]) -> Iterator[Step]:
    rng = random.Random(seed)
    deck: list[Fault] = []
    while True:
        if not deck:  # every fault occurs once before one repeats
            deck = list(faults)
            rng.shuffle(deck)
        fault, also = deck.pop(), None
        if deck and rng.random() < 0.25:
            also = (deck.pop(), rng.randint(1, managers))
        yield Step(
            fault=fault,
            host=LEADER if rng.random() < 0.5 else rng.randint(1, managers),
            seconds=rng.choice(LENGTHS_SECONDS),
            quiet=rng.uniform(*QUIET_SECONDS),
            offset=rng.choice(CLOCK_OFFSETS),
            also=also,
        )


class Nemesis:
    """Runs steps one after the other. Calls ``log`` with each, and the seconds since the start."""

    def __init__(self, arena: Arena, log: Callable[[str], None]) -> None:
        self._arena = arena
        self._log = log
        self._began = time.monotonic()
        self.done = 0
        self.struck: set[Fault] = set()

    def run(self, steps: Iterator[Step], seconds: float, until_struck: Collection[Fault] = ()) -> None:
        """Run for ``seconds``, and longer until each of these faults has struck."""
        ends = time.monotonic() + seconds
        for step in steps:
            longer = 0 if self.struck.issuperset(until_struck) else LONGER_SECONDS
            if time.monotonic() + step.seconds > ends + longer:
                return
            self._run_step(step)
            self.done += 1
            time.sleep(step.quiet)

    def _run_step(self, step: Step) -> None:
        hosts = self._arena.hosts
        victim = (self._arena.leader() or hosts[0]) if step.host == LEADER else hosts[step.host - 1]
        role = " (leader)" if step.host == LEADER else ""
        with contextlib.ExitStack() as stack:
            words = [f"{step.fault} {victim.name}{role}"]
            stack.enter_context(self._inject(step.fault, victim, step.offset))
            if step.also is not None:
                fault, number = step.also
                other = hosts[number - 1] if hosts[number - 1] != victim else hosts[number % len(hosts)]
                words.append(f"{fault} {other.name}")
                stack.enter_context(self._inject(fault, other, step.offset))
            self._log(f"{time.monotonic() - self._began:6.1f} s  {' and '.join(words)} for {step.seconds} s")
            time.sleep(step.seconds)

    @contextlib.contextmanager
    def _inject(self, fault: Fault, victim: LabHost, offset: float) -> Iterator[None]:
        begin, end = self._actions(fault, victim, offset)
        try:
            if begin() is False:
                self._log(f"{fault} found nothing to strike on {victim.name}")
            else:
                self.struck.add(fault)
            yield
        finally:
            end()

    def _actions(
        self, fault: Fault, victim: LabHost, offset: float
    ) -> tuple[Callable[[], object], Callable[[], object]]:
        """Actions that begin and end the fault."""
        arena, others = self._arena, [host for host in self._arena.hosts if host != victim]
        member = arena.etcd[(victim.number - 1) % len(arena.etcd)] if arena.etcd else EtcdMember("", 0)

        def nothing() -> None:
            """The fault ends by itself."""

        def split() -> None:
            side = [victim, *others[: (len(others) - 1) // 2]]
            away = [host for host in arena.hosts if host not in side]
            for host in side:
                arena.drop(host, incoming=away, outgoing=away)

        def join() -> None:
            for host in arena.hosts:
                arena.undrop(host)

        def kill_all() -> bool:
            struck = [arena.signal_manager(host, signal.SIGKILL) for host in arena.hosts]
            return any(pid is not None for pid in struck)

        return {
            Fault.KILL_MANAGER: (lambda: self._signal(victim, signal.SIGKILL), nothing),
            Fault.KILL_ALL: (kill_all, nothing),
            Fault.KILL_HOST: (lambda: arena.power_off(victim), lambda: arena.start(victim)),
            Fault.CRASH_DAEMON: (lambda: arena.crash_daemon(victim), lambda: arena.start(victim)),
            Fault.PAUSE: (
                lambda: self._signal(victim, signal.SIGSTOP),
                lambda: arena.signal_manager(victim, signal.SIGCONT),
            ),
            Fault.CUT: (lambda: arena.set_cable(victim, up=False), lambda: arena.set_cable(victim, up=True)),
            Fault.DEAF: (lambda: arena.drop(victim, incoming=others), lambda: arena.undrop(victim)),
            Fault.DUMB: (lambda: arena.drop(victim, outgoing=others), lambda: arena.undrop(victim)),
            Fault.SPLIT: (split, join),
            Fault.FULL_DISK: (lambda: arena.fill_disk(victim), lambda: arena.free_disk(victim)),
            Fault.ETCD_KILL: (lambda: arena.kill_etcd(member), lambda: (arena.start_etcd(member), arena.free_etcd())),
            Fault.ETCD_PAUSE: (
                lambda: arena.signal_etcd(member, signal.SIGSTOP),
                lambda: (arena.signal_etcd(member, signal.SIGCONT), arena.free_etcd()),
            ),
            Fault.ETCD_FULL: (arena.fill_etcd, arena.free_etcd),
            Fault.ETCD_CUT: (lambda: arena.drop_etcd(victim), lambda: arena.undrop(victim)),
            Fault.CLOCK: (lambda: arena.set_clock(victim, offset), lambda: arena.set_clock(victim, 0)),
        }[fault]

    def _signal(self, host: LabHost, number: signal.Signals) -> bool:
        """Signal the host's manager, once it has one."""
        deadline = time.monotonic() + MANAGER_SECONDS
        while self._arena.signal_manager(host, number) is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True
