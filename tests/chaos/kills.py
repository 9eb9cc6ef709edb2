"""Rounds of kill -9 under load: one, two or all of three managers are killed at a random moment while writers write.

A round ends with the first acknowledged write that began after the kill. Every ``check_every`` rounds, every acknowledged write must be on every
member exactly once. Writers create objects with fresh names, which must not be lost, and increment counters by read and write, which show a
write that took effect twice. A ``Group`` says what the members are; ``tests/integration/test_kill_rounds.py`` has three.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Protocol

import msgspec

WRITERS = 8
PAUSE_SECONDS = (0.0, 0.03)
KILL_AFTER_SECONDS = 0.3
DOWN_SECONDS = 0.3
ROUND_SECONDS = 40.0
CHECK_SECONDS = 60.0


class WriteOutcome(Enum):
    DONE = "done"
    NOTHING = "nothing"
    UNKNOWN = "unknown"


class Group(Protocol):
    """Members that can be killed. A start that is interrupted by a kill returns without an error."""

    members: Sequence[str]

    async def kill(self, member: str) -> None: ...

    async def start(self, member: str) -> None: ...

    async def write(self, member: str, key: str) -> WriteOutcome:
        """Create the object with that name, or increment the counter, through this member."""

    async def content(self, member: str) -> Mapping[str, int]:
        """Fresh read: the number of objects of each name, and the value of each counter."""


class Rounds(msgspec.Struct, kw_only=True):
    """Counts and faults of a run."""

    seed: int
    rounds: int = 0
    kills: int = 0
    acknowledged: int = 0
    unknown: int = 0
    checks: int = 0
    lost: list[str] = []
    twice: list[str] = []
    recovery_seconds: list[float] = []

    def line(self) -> str:
        ordered = sorted(self.recovery_seconds) or [0.0]
        at = [ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.9, 0.99)]
        return (
            f"seed {self.seed}: {self.rounds} rounds, {self.kills} kills, {self.acknowledged} writes acknowledged, {self.unknown} unknown, "
            f"{len(self.lost)} lost, {len(self.twice)} twice, {self.checks} checks; next acknowledged write after "
            f"{at[0]:.2f} s (median), {at[1]:.2f} s (9 of 10), {at[2]:.2f} s (99 of 100), {ordered[-1]:.2f} s (worst)"
        )


class Ledger:
    """Lower and upper bound of the writes of each key that took effect. Pure."""

    def __init__(self) -> None:
        self.least: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def note(self, key: str, result: WriteOutcome) -> None:
        self.least[key] += result is WriteOutcome.DONE
        self.most[key] += result is not WriteOutcome.NOTHING

    def lost(self, content: Mapping[str, int]) -> list[str]:
        return [key for key, least in self.least.items() if content.get(key, 0) < least]

    def twice(self, content: Mapping[str, int]) -> list[str]:
        """Keys that are there more often than they were written."""
        return [key for key, count in content.items() if count > self.most[key]]

    def copy(self) -> "Ledger":
        other = Ledger()
        other.least, other.most = self.least.copy(), self.most.copy()
        return other


class _Writers:
    """Writers that write all the time, each through the member that accepted its last write."""

    def __init__(self, group: Group, seed: int, ledger: Ledger) -> None:
        self._group = group
        self._seed = seed
        self._ledger = ledger
        self._waiting: list[tuple[float, asyncio.Future[float]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._busy = 0
        self._idle = asyncio.Condition()

    async def write(self, number: int) -> None:
        rng = random.Random(f"{self._seed}/{number}")
        member = rng.choice(self._group.members)
        count = 0
        while True:
            await self.gate.wait()
            count += 1
            key = f"counter-{number}" if count % 3 else f"w{number}-{count}"
            self._busy += 1
            began = time.monotonic()
            result = await self._group.write(member, key)
            self._ledger.note(key, result)
            self._busy -= 1
            async with self._idle:
                self._idle.notify_all()
            if result is WriteOutcome.DONE:
                self._acknowledged(began)
            else:
                member = rng.choice(self._group.members)
            await asyncio.sleep(rng.uniform(*PAUSE_SECONDS) if result is WriteOutcome.DONE else 0.02)

    def _acknowledged(self, began: float) -> None:
        for since, future in self._waiting:
            if began >= since and not future.done():
                future.set_result(time.monotonic() - since)
        self._waiting = [(since, future) for since, future in self._waiting if not future.done()]

    async def next_acknowledged(self) -> float:
        """Seconds until a write that begins after this call is acknowledged."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append((time.monotonic(), future))
        try:
            async with asyncio.timeout(ROUND_SECONDS):
                return await future
        except TimeoutError:
            raise AssertionError(f"no write was acknowledged within {ROUND_SECONDS:g} s of a kill") from None

    async def pause(self) -> None:
        """Stop the writers. Returns when no write is in flight."""
        self.gate.clear()
        async with self._idle, asyncio.timeout(CHECK_SECONDS):
            await self._idle.wait_for(lambda: not self._busy)


async def kill_rounds(
    group: Group,
    *,
    seed: int,
    rounds: int,
    check_every: int = 20,
    until: float = float("inf"),
    report: Callable[[str], None] = print,
) -> Rounds:
    """Run ``rounds`` rounds, or until the monotonic time ``until``. Raises AssertionError if the group accepts no write for long."""
    rng = random.Random(seed)
    result = Rounds(seed=seed)
    ledger = Ledger()
    writers = _Writers(group, seed, ledger)
    starts: dict[str, asyncio.Task[None]] = {}

    async def begin(member: str, after: float) -> None:
        await asyncio.sleep(after)
        await group.start(member)

    async def check() -> None:
        await asyncio.gather(*starts.values())
        await writers.pause()
        for member in group.members:
            content = await _content(group, member)
            result.lost += [f"{key} on {member}" for key in ledger.lost(content)]
            result.twice += [f"{key} on {member}" for key in ledger.twice(content)]
        result.checks += 1
        writers.gate.set()
        _count(result, ledger)
        report(result.line())

    async with asyncio.TaskGroup() as tasks:
        writing = [tasks.create_task(writers.write(number)) for number in range(WRITERS)]
        await writers.next_acknowledged()
        while result.rounds < rounds and time.monotonic() < until and not (result.lost or result.twice):
            await asyncio.sleep(rng.uniform(0, KILL_AFTER_SECONDS))
            for member in rng.sample(list(group.members), rng.choices([1, 2, 3], [16, 3, 1])[0]):
                if member in starts:
                    starts[member].cancel()
                    await asyncio.wait([starts[member]])
                await group.kill(member)
                result.kills += 1
                starts[member] = tasks.create_task(begin(member, rng.choice([0, rng.uniform(0, DOWN_SECONDS)])))
            result.recovery_seconds.append(await writers.next_acknowledged())
            result.rounds += 1
            if result.rounds % check_every == 0:
                await check()
        await check()
        for task in writing:
            task.cancel()
    return result


async def _content(group: Group, member: str) -> Mapping[str, int]:
    """Read the content; retry until the member answers."""
    async with asyncio.timeout(CHECK_SECONDS):
        while True:
            try:
                return await group.content(member)
            except ConnectionError:
                await asyncio.sleep(0.1)


def _count(result: Rounds, ledger: Ledger) -> None:
    result.acknowledged = sum(ledger.least.values())
    result.unknown = sum(ledger.most.values()) - result.acknowledged
