"""What the cluster's settings say of snapshots and of the log, on the disks of managers that run."""

import re
from collections.abc import Callable
from itertools import count, pairwise

import pytest

from coveypb.v1 import control_pb2, objects_pb2
from tests.support.manager_processes import ManagerHost, eventually, manager_cluster

pytestmark = pytest.mark.timeout(180)
INTERVAL, OLD, ENTRIES = 20, 2, 7
CUT = re.compile(r"the log begins at (\d+), the snapshot is at (\d+)")
_numbers = count()


async def write(host: ManagerHost) -> None:
    spec = objects_pb2.SecretSpec(annotations=objects_pb2.Annotations(name=f"s{next(_numbers)}"), data=b"x")
    await host.call("CreateSecret", control_pb2.CreateSecretRequest(spec=spec))


async def tune(host: ManagerHost, **settings: int) -> None:
    cluster = await host.call("GetCluster", control_pb2.GetClusterRequest())
    for name, value in settings.items():
        setattr(cluster.spec.raft, name, value)
    await host.call("UpdateCluster", control_pb2.UpdateClusterRequest(version=cluster.meta.version, spec=cluster.spec))


async def writing_until(host: ManagerHost, what: str, condition: Callable[[], bool]) -> None:
    async def once() -> bool:
        await write(host)
        return condition()

    await eventually(what, once, seconds=40)


def snapshots(host: ManagerHost) -> list[int]:
    """The indices of its snapshots, oldest first; that of the founding is at 1."""
    return sorted([int(path.name[:16], 16) for path in (host.folder / "state/manager/raft/snapshots").glob("*.snap")])


def later(host: ManagerHost) -> list[int]:
    """The same, none of them while that of the founding is among them."""
    found = snapshots(host)
    return [] if found[0] == 1 else found


def cuts(host: ManagerHost) -> list[tuple[int, int]]:
    """Where its log began after each cut, and the snapshot by which it was cut."""
    return [(int(first), int(at)) for first, at in CUT.findall(host.log.read_text())]


async def test_managers_follow_the_settings_of_snapshots_and_log_while_they_run() -> None:
    """1. Nothing is cut at first: the interval is long. 2. With settings through the API there is a snapshot every so many entries, so many
    old ones stay, and so much of the log. 3. A follower that was away for longer than that gets the leader's snapshot. 4. The settings
    change again, and the old snapshots go.
    """
    async with manager_cluster() as here:
        leader = here.manager()
        await leader.start("bootstrap", log_level="debug")
        for _ in range(2):
            await here.add_manager(leader)
        await eventually("three managers", lambda: here._all_reachable(leader, 3))
        for _ in range(3 * INTERVAL):
            await write(leader)
        assert snapshots(leader) == [1]
        assert cuts(leader) == []

        await tune(leader, snapshot_interval=INTERVAL, keep_old_snapshots=OLD, log_entries_for_slow_followers=ENTRIES)
        await writing_until(leader, "a snapshot, and as many old ones as told", lambda: len(later(leader)) == OLD + 1)
        gap = min(after - before for before, after in pairwise(later(leader)))
        assert INTERVAL <= gap < 2 * INTERVAL
        await writing_until(
            leader, "a log cut where it was told", lambda: any(at - first == ENTRIES - 1 for first, at in cuts(leader))
        )
        assert min(at - first for first, at in cuts(leader)) == ENTRIES - 1, "never less than was told"

        away = here.managers[-1]
        await away.kill()
        had = (await leader.status()).applied
        await writing_until(leader, "a log that begins beyond what it had", lambda: cuts(leader)[-1][0] > had + 1)
        await away.start("restart")
        await eventually("all that it missed", lambda: caught_up(away, leader))
        assert "the leader's snapshot" in away.log.read_text()

        await tune(leader, keep_old_snapshots=0)
        await writing_until(leader, "one snapshot", lambda: len(snapshots(leader)) == 1)


async def caught_up(one: ManagerHost, other: ManagerHost) -> bool:
    return bool((await one.status()).applied >= (await other.status()).applied > 0)
