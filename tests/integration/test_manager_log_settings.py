"""Cluster settings for snapshots and the Raft log, applied by running managers."""

import re
from collections.abc import Callable
from itertools import count, pairwise

import pytest

from coveypb.v1 import control_pb2, objects_pb2
from tests.support.manager_processes import ManagerHost, eventually, manager_cluster

pytestmark = pytest.mark.timeout(180)
INTERVAL, OLD, ENTRIES = 20, 2, 7
COMPACTED = re.compile(r"compacted the log: first index (\d+), snapshot at (\d+)")
_numbers = count()


async def write(host: ManagerHost) -> None:
    spec = objects_pb2.SecretSpec(annotations=objects_pb2.Annotations(name=f"s{next(_numbers)}"), data=b"x")
    await host.call("CreateSecret", control_pb2.CreateSecretRequest(spec=spec))


async def update_raft_settings(host: ManagerHost, **settings: int) -> None:
    cluster = await host.call("GetCluster", control_pb2.GetClusterRequest())
    for name, value in settings.items():
        setattr(cluster.spec.raft, name, value)
    await host.call("UpdateCluster", control_pb2.UpdateClusterRequest(version=cluster.meta.version, spec=cluster.spec))


async def write_until(host: ManagerHost, what: str, condition: Callable[[], bool]) -> None:
    async def once() -> bool:
        await write(host)
        return condition()

    await eventually(what, once, seconds=40)


def snapshots(host: ManagerHost) -> list[int]:
    """Log indices of its snapshots, oldest first. The first one of a cluster is at index 1."""
    return sorted([int(path.name[:16], 16) for path in (host.folder / "state/manager/raft/snapshots").glob("*.snap")])


def snapshots_after_first(host: ManagerHost) -> list[int]:
    """Log indices of its snapshots, or none while the first one of the cluster still exists."""
    found = snapshots(host)
    return [] if found[0] == 1 else found


def compactions(host: ManagerHost) -> list[tuple[int, int]]:
    """First log index and snapshot index after each compaction."""
    return [(int(first), int(at)) for first, at in COMPACTED.findall(host.log.read_text())]


async def test_running_managers_apply_changed_snapshot_and_log_settings() -> None:
    """1. At first nothing is compacted: the interval is long. 2. The settings change the snapshot interval, the number of old snapshots and
    the length of the log. 3. A follower that was down for longer gets the leader's snapshot. 4. The settings change again, and the old
    snapshots are removed.
    """
    async with manager_cluster() as group:
        leader = group.manager()
        await leader.start("bootstrap", log_level="debug")
        for _ in range(2):
            await group.add_manager(leader)
        await eventually("three managers", lambda: group._all_reachable(leader, 3))
        for _ in range(3 * INTERVAL):
            await write(leader)
        assert snapshots(leader) == [1]
        assert compactions(leader) == []

        await update_raft_settings(
            leader, snapshot_interval=INTERVAL, keep_old_snapshots=OLD, log_entries_for_slow_followers=ENTRIES
        )
        await write_until(
            leader,
            "a snapshot and the configured number of old ones",
            lambda: len(snapshots_after_first(leader)) == OLD + 1,
        )
        gap = min(after - before for before, after in pairwise(snapshots_after_first(leader)))
        assert INTERVAL <= gap < 2 * INTERVAL
        await write_until(
            leader,
            "a log compacted at the configured index",
            lambda: any(at - first == ENTRIES - 1 for first, at in compactions(leader)),
        )
        assert min(at - first for first, at in compactions(leader)) == ENTRIES - 1, "the log is shorter than configured"

        away = group.managers[-1]
        await away.kill()
        had = (await leader.status()).applied
        await write_until(
            leader, "a log that begins after the follower's last entry", lambda: compactions(leader)[-1][0] > had + 1
        )
        await away.start("restart")
        await eventually("the follower to catch up", lambda: caught_up(away, leader))
        assert "the leader's snapshot" in away.log.read_text()

        await update_raft_settings(leader, keep_old_snapshots=0)
        await write_until(leader, "one snapshot", lambda: len(snapshots(leader)) == 1)


async def caught_up(one: ManagerHost, other: ManagerHost) -> bool:
    return bool((await one.status()).applied >= (await other.status()).applied > 0)
