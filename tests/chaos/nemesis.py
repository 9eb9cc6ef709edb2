"""What breaks, when and where: a plan from a seed, and the hand that carries it out.

``plan`` is pure. A step names its victim by rule (the leader, or a host by number), since who leads is known only when it begins. Law: what is
told to have struck did: a process lived that was killed, a disk was full when something was written to it.
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
    """It is heard but hears nobody."""
    DUMB = "dumb"
    """It hears but nobody hears it."""
    SPLIT = "split"
    """A minority with the victim on one side, all others on the other."""
    FULL_DISK = "full-disk"
    CLOCK = "clock"
    KILL_ALL = "kill-all"
    """Every manager process at once."""
    ETCD_KILL = "etcd-kill"
    ETCD_PAUSE = "etcd-pause"
    ETCD_CUT = "etcd-cut"
    """The manager reaches the others but no member of etcd."""
    ETCD_FULL = "etcd-full"
    """Its database reaches its quota, until somebody compacts it."""


_OF_ETCD = (Fault.ETCD_KILL, Fault.ETCD_PAUSE, Fault.ETCD_CUT, Fault.ETCD_FULL)
FAULTS = {
    Engine.RAFT: tuple(fault for fault in Fault if fault not in _OF_ETCD),
    Engine.ETCD: tuple(Fault),
}
"""What can break, by the engine."""


LENGTHS_SECONDS = (0.3, 1.5, 3.5)
QUIET_SECONDS = (0.3, 1.5)
CLOCK_OFFSETS = (3600.0, -3600.0, 7.0, -7.0, 40_000.0)
LEADER = 0
MANAGER_SECONDS = 3.0
"""So soon a daemon has started its manager again."""
LONGER_SECONDS = 90.0
"""So much longer than it was to last a run may go on until every fault that it must see has struck."""


class Step(msgspec.Struct, frozen=True):
    """``host`` counts from 1; LEADER is whoever leads then. ``also`` strikes another host at the same time, the next if that is the same."""

    fault: Fault
    host: int
    seconds: float
    quiet: float
    offset: float = 0
    also: tuple[Fault, int] | None = None


def plan(seed: int, managers: int, faults: Sequence[Fault], skip: int = 0) -> Iterator[Step]:
    """Steps without end, after the first ``skip``."""
    return itertools.islice(_plan(seed, managers, faults), skip, None)


def _plan(seed: int, managers: int, faults: Sequence[Fault]) -> Iterator[Step]:
    chance = random.Random(seed)
    deck: list[Fault] = []
    while True:
        if not deck:  # every fault comes once before one comes again
            deck = list(faults)
            chance.shuffle(deck)
        fault, also = deck.pop(), None
        if deck and chance.random() < 0.25:
            also = (deck.pop(), chance.randint(1, managers))
        yield Step(
            fault=fault,
            host=LEADER if chance.random() < 0.5 else chance.randint(1, managers),
            seconds=chance.choice(LENGTHS_SECONDS),
            quiet=chance.uniform(*QUIET_SECONDS),
            offset=chance.choice(CLOCK_OFFSETS),
            also=also,
        )


class Nemesis:
    """Carries steps out one after the other. ``said`` is told each, with the seconds since the beginning."""

    def __init__(self, arena: Arena, said: Callable[[str], None]) -> None:
        self._arena = arena
        self._said = said
        self._began = time.monotonic()
        self.done = 0
        self.struck: set[Fault] = set()

    def run(self, steps: Iterator[Step], seconds: float, until_struck: Collection[Fault] = ()) -> None:
        """For so long, and on until each of these faults has struck."""
        ends = time.monotonic() + seconds
        for step in steps:
            longer = 0 if self.struck.issuperset(until_struck) else LONGER_SECONDS
            if time.monotonic() + step.seconds > ends + longer:
                return
            self._carry_out(step)
            self.done += 1
            time.sleep(step.quiet)

    def _carry_out(self, step: Step) -> None:
        hosts = self._arena.hosts
        victim = (self._arena.leader() or hosts[0]) if step.host == LEADER else hosts[step.host - 1]
        role = " (leader)" if step.host == LEADER else ""
        with contextlib.ExitStack() as stack:
            words = [f"{step.fault} {victim.name}{role}"]
            stack.enter_context(self._broken(step.fault, victim, step.offset))
            if step.also is not None:
                fault, number = step.also
                other = hosts[number - 1] if hosts[number - 1] != victim else hosts[number % len(hosts)]
                words.append(f"{fault} {other.name}")
                stack.enter_context(self._broken(fault, other, step.offset))
            self._said(f"{time.monotonic() - self._began:6.1f} s  {' and '.join(words)} for {step.seconds} s")
            time.sleep(step.seconds)

    @contextlib.contextmanager
    def _broken(self, fault: Fault, victim: LabHost, offset: float) -> Iterator[None]:
        begin, end = self._hands(fault, victim, offset)
        try:
            if begin() is False:
                self._said(f"{fault} found nothing to strike on {victim.name}")
            else:
                self.struck.add(fault)
            yield
        finally:
            end()

    def _hands(self, fault: Fault, victim: LabHost, offset: float) -> tuple[Callable[[], object], Callable[[], object]]:
        """How the fault begins and ends."""
        arena, others = self._arena, [host for host in self._arena.hosts if host != victim]
        member = arena.etcd[(victim.number - 1) % len(arena.etcd)] if arena.etcd else EtcdMember("", 0)

        def nothing() -> None:
            """It mends itself."""

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
            Fault.CUT: (lambda: arena.cable(victim, up=False), lambda: arena.cable(victim, up=True)),
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
        """To the host's manager, once it has one."""
        deadline = time.monotonic() + MANAGER_SECONDS
        while self._arena.signal_manager(host, number) is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True
