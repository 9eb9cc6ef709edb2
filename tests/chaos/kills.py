"""Rounds of kill -9: one, two or all of three managers die at a random moment while writers write; a round ends with the first write that was
begun after the kill and acknowledged. Every so often all that was acknowledged must be there, on every member, exactly once.

Two things are written: objects of fresh names, which must not be lost, and counters that are read, raised and written, which show a write that took
effect twice. What a group is made of is the ``Group``'s matter; ``tests/integration/test_kill_rounds.py`` has three.
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


class Wrote(Enum):
    DONE = "done"
    NOTHING = "nothing"
    UNKNOWN = "unknown"


class Group(Protocol):
    """Members that can be killed. A start that is overtaken by a kill ends without an error."""

    members: Sequence[str]

    async def kill(self, member: str) -> None: ...

    async def start(self, member: str) -> None: ...

    async def write(self, member: str, key: str) -> Wrote:
        """Create the object of that name, or raise the counter, through this member."""

    async def content(self, member: str) -> Mapping[str, int]:
        """Names of objects with how often each is there, counters with their values; as fresh as an acknowledgement."""


class Rounds(msgspec.Struct, kw_only=True):
    """What happened."""

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
    """What writers know of what they wrote. Pure."""

    def __init__(self) -> None:
        self.least: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def note(self, key: str, wrote: Wrote) -> None:
        self.least[key] += wrote is Wrote.DONE
        self.most[key] += wrote is not Wrote.NOTHING

    def lost(self, content: Mapping[str, int]) -> list[str]:
        return [key for key, least in self.least.items() if content.get(key, 0) < least]

    def twice(self, content: Mapping[str, int]) -> list[str]:
        """Too often there, or there though nobody wrote it."""
        return [key for key, count in content.items() if count > self.most[key]]

    def copy(self) -> "Ledger":
        other = Ledger()
        other.least, other.most = self.least.copy(), self.most.copy()
        return other


class _Writers:
    """They write all the time, each through the member that took its last write."""

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
        chance = random.Random(f"{self._seed}/{number}")
        member = chance.choice(self._group.members)
        count = 0
        while True:
            await self.gate.wait()
            count += 1
            key = f"counter-{number}" if count % 3 else f"w{number}-{count}"
            self._busy += 1
            began = time.monotonic()
            wrote = await self._group.write(member, key)
            self._ledger.note(key, wrote)
            self._busy -= 1
            async with self._idle:
                self._idle.notify_all()
            if wrote is Wrote.DONE:
                self._acknowledged(began)
            else:
                member = chance.choice(self._group.members)
            await asyncio.sleep(chance.uniform(*PAUSE_SECONDS) if wrote is Wrote.DONE else 0.02)

    def _acknowledged(self, began: float) -> None:
        for since, future in self._waiting:
            if began >= since and not future.done():
                future.set_result(time.monotonic() - since)
        self._waiting = [(since, future) for since, future in self._waiting if not future.done()]

    async def next_acknowledged(self) -> float:
        """Seconds until a write that begins from now on is acknowledged."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append((time.monotonic(), future))
        try:
            async with asyncio.timeout(ROUND_SECONDS):
                return await future
        except TimeoutError:
            raise AssertionError(f"no write was acknowledged within {ROUND_SECONDS:g} s of a kill") from None

    async def pause(self) -> None:
        """Returns once nobody waits for an answer."""
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
    said: Callable[[str], None] = print,
) -> Rounds:
    """So many rounds, or until that monotonic time. Raises AssertionError if the group takes no write for long."""
    chance = random.Random(seed)
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
        said(result.line())

    async with asyncio.TaskGroup() as tasks:
        writing = [tasks.create_task(writers.write(number)) for number in range(WRITERS)]
        await writers.next_acknowledged()
        while result.rounds < rounds and time.monotonic() < until and not (result.lost or result.twice):
            await asyncio.sleep(chance.uniform(0, KILL_AFTER_SECONDS))
            for member in chance.sample(list(group.members), chance.choices([1, 2, 3], [16, 3, 1])[0]):
                if member in starts:
                    starts[member].cancel()
                    await asyncio.wait([starts[member]])
                await group.kill(member)
                result.kills += 1
                starts[member] = tasks.create_task(begin(member, chance.choice([0, chance.uniform(0, DOWN_SECONDS)])))
            result.recovery_seconds.append(await writers.next_acknowledged())
            result.rounds += 1
            if result.rounds % check_every == 0:
                await check()
        await check()
        for task in writing:
            task.cancel()
    return result


async def _content(group: Group, member: str) -> Mapping[str, int]:
    """Asks until the member answers."""
    async with asyncio.timeout(CHECK_SECONDS):
        while True:
            try:
                return await group.content(member)
            except ConnectionError:
                await asyncio.sleep(0.1)


def _count(result: Rounds, ledger: Ledger) -> None:
    result.acknowledged = sum(ledger.least.values())
    result.unknown = sum(ledger.most.values()) - result.acknowledged
