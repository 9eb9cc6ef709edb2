"""Benchmark of Raft: failover after the leader is killed, and catch-up of a follower. Processes on loopback, mTLS, real disks.

By itself: ``python -m tests.bench.consensus``.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from tests.bench.figures import Figure, Target, table
from tests.support.raft_processes import CommandError, RaftGroup, RaftProcess, raft_group, until

KILLS = 20
ENTRIES = 50_000
ENTRY_BYTES = 256
_CLIENTS = 100
_TRY_SECONDS = 1.0
_PAUSE_SECONDS = 0.01
_LOAD_SECONDS = 300.0
_WHOLE_LOG = {"snapshot_interval": 1_000_000, "log_entries_for_slow_followers": 1_000_000}


def consensus(*, kills: int = KILLS, entries: int = ENTRIES) -> list[Figure]:
    """Kill ``kills`` leaders, then let a follower catch up with ``entries`` missed entries."""
    times = tuple(asyncio.run(_leader_kills(kills)))
    by_log = asyncio.run(_catch_up(entries, **_WHOLE_LOG))
    by_snapshot = asyncio.run(_catch_up(entries))
    figures = [Figure("leader killed until a write is acknowledged", "s", times, Target(1.5, worst=3.0))]
    for how, (seconds, mib) in (("by the log", by_log), ("by a snapshot", by_snapshot)):
        title = f"follower catches up {entries:,} entries {how}"
        figures += [Figure(title, "s", (seconds,)), Figure(f"{title}: its memory at most", "MiB", (mib,))]
    return figures


@contextlib.asynccontextmanager
async def _three(**tuning: int) -> AsyncIterator[RaftGroup]:
    with tempfile.TemporaryDirectory() as folder:
        async with raft_group(Path(folder), **tuning) as group:
            await group.add_three()
            yield group


async def _leader_kills(kills: int) -> list[float]:
    """Seconds from each SIGKILL to the first acknowledged write. The killed member is started again each time."""
    times = []
    async with _three() as group:
        for number in range(kills):
            leader = await group.leader()
            others = await group.followers()
            await leader.kill()
            began = time.monotonic()
            await _first_write(others, f"kill-{number}-")
            times.append(time.monotonic() - began)
            await leader.start()
            await group.wait_connected(3)
    return times


async def _first_write(members: list[RaftProcess], prefix: str) -> None:
    tried = 0

    async def attempt() -> bool:
        nonlocal tried
        tried += 1
        for member in members:
            with contextlib.suppress(CommandError, TimeoutError):
                await member("create", name=f"{prefix}{tried}-{member.node_id}", timeout_seconds=_TRY_SECONDS)
                return True
        return False

    await until(attempt, "acknowledged write")


async def _catch_up(entries: int, **tuning: int) -> tuple[float, float]:
    """Seconds from the follower's start until it has all entries, and its peak memory in MiB."""
    async with _three(**tuning) as group:
        leader = await group.leader()
        follower = (await group.followers())[0]
        await follower.kill()
        load = {"clients": _CLIENTS, "writes": entries, "size": ENTRY_BYTES, "prefix": "missed-"}
        await leader("load", timeout_seconds=_LOAD_SECONDS, **load)
        status = await leader("status")
        assert isinstance(status, dict)
        began = time.monotonic()
        await follower.start()

        async def caught_up() -> bool:
            own = await follower("status")
            assert isinstance(own, dict)
            return bool(own["applied"] >= status["applied"])

        await until(caught_up, "follower with the whole log", 60)
        return time.monotonic() - began, follower.peak_mib()


def main() -> None:
    print(table(consensus()))


if __name__ == "__main__":
    main()
