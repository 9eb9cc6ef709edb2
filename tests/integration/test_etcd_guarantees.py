"""Guarantees of managers on a real etcd under faults: fresh reads, lease time, fences, and hanging watches."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from covey.clock import boot_time
from covey.errors import DeadlineError
from manager.etcd.errors import NoAnswerError
from manager.etcd.watch_stream import WatchStream
from manager.store import NotLeaderError
from tests.support.etcd_server import EtcdCluster, etcd_cluster
from tests.support.etcd_stores import EtcdStoreNode, etcd_store_group, eventually, tcp_relays

pytestmark = pytest.mark.timeout(60)

HOLD_SECONDS = 0.4
TOLERANCE_SECONDS = 0.1


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdCluster]:
    with etcd_cluster(1) as one:
        yield one


async def test_a_fresh_read_needs_a_majority_of_etcd() -> None:
    """One etcd member of three answers. Its data may be stale, so neither a fresh read nor the check of the watch accepts it."""
    with etcd_cluster(3) as three_members:
        async with etcd_store_group(three_members) as group:
            node = await group.add_node("m2", store=f"etcd://{three_members.members[0].endpoint}{group.prefix}")
            await node.consensus.read_index()
            for member in three_members.members[1:]:
                three_members.pause(member)
            try:
                with pytest.raises(NoAnswerError):
                    await node.consensus._election._latest_revision()
                with pytest.raises(DeadlineError, match="etcd confirmed no read"):
                    await node.consensus.read_index()
            finally:
                for member in three_members.members[1:]:
                    three_members.resume(member)


@pytest.mark.parametrize("request_name", ["grant", "renewal"])
async def test_the_time_of_a_lease_counts_from_its_request(etcd: EtcdCluster, request_name: str) -> None:
    """1. The request is sent. 2. etcd starts the lease. 3. The answer is late. The lease must not count as longer."""
    async with tcp_relays(etcd) as [relay], etcd_store_group(etcd) as group:
        node = await group.add_node(
            "m2", store=f"etcd://{relay.endpoint}{group.prefix}", ready=request_name == "renewal"
        )
        lease = node.consensus._lease
        await eventually("no request in progress", lambda: not lease._renewing.locked())
        while not lease._renewing.locked():  # noqa: ASYNC110 - the first moment of the request
            await asyncio.sleep(0)
        relay.answers.clear()
        requested_at, before = boot_time(), lease._valid_until
        await asyncio.sleep(HOLD_SECONDS)
        assert lease._valid_until == before, "the answer was not held"
        relay.answers.set()
        await eventually("the answer to arrive", lambda: lease._valid_until != before)
        assert lease._valid_until <= requested_at + lease.ttl_seconds + TOLERANCE_SECONDS


async def remove_a_member(old: EtcdStoreNode, others: list[EtcdStoreNode]) -> None:
    await old.consensus.remove_members([others[0].node_id])


async def transfer_leadership(old: EtcdStoreNode, others: list[EtcdStoreNode]) -> None:
    await old.consensus.transfer_leadership([node.node_id for node in others])


async def move_the_fence(old: EtcdStoreNode, _others: list[EtcdStoreNode]) -> None:
    leadership = old.consensus._own_leadership
    await leadership.move_fence(leadership.require_leading())
    leadership.require_leading()


@pytest.mark.parametrize("change_group", [remove_a_member, move_the_fence, transfer_leadership])
async def test_a_deposed_leader_changes_nothing_in_the_group(
    etcd: EtcdCluster,
    monkeypatch: pytest.MonkeyPatch,
    change_group: Callable[[EtcdStoreNode, list[EtcdStoreNode]], Awaitable[None]],
) -> None:
    """1. A leads and its watch hangs. 2. Its leader key is deleted, and B leads. 3. A, which does not know it, changes the group."""
    async with etcd_store_group(etcd, 3) as group:
        old = await group.wait_leader()
        others = [node for node in group.nodes if node is not old]
        monkeypatch.setattr(old.consensus._follower, "_apply", lambda *_: None)
        etcd.ctl("del", group.keys.leader.decode())
        new = await group.wait_leader(but=old)
        term = new.consensus.leadership.term
        assert old.is_leader, "the old leader already knows that it was deposed"
        try:
            await change_group(old, others)
        except (NotLeaderError, DeadlineError):
            pass
        else:
            assert change_group is transfer_leadership, "the action was not refused"
        await new.consensus.read_index()
        members = etcd.ctl("get", "--prefix", "--keys-only", f"{group.prefix}/members/").split()
        assert members == [f"{group.prefix}/members/m{number}" for number in (1, 2, 3)]
        assert new.is_leader
        assert new.consensus.leadership.term == term, "the new leader's key was changed"
        assert new.consensus._own_leadership.leading.fence == term


@pytest.mark.parametrize("victim_leads", [True, False])
async def test_a_watch_that_hangs_while_a_leader_is_known_is_reopened(
    etcd: EtcdCluster, monkeypatch: pytest.MonkeyPatch, victim_leads: bool
) -> None:
    """The watch misses a change. The manager notices it with a read, and opens the watch again."""
    async with etcd_store_group(etcd, 2) as group:
        leader = await group.wait_leader()
        victim = leader if victim_leads else next(node for node in group.nodes if node is not leader)
        hung, real = [], WatchStream.read

        async def read(watch: WatchStream, call: Any, seconds: float | None = None) -> Any:
            if watch is victim.consensus._follower._watch and hung in ([], [call]):
                hung[:] = [call]
                return await real(watch, Silence(), seconds)
            return await real(watch, call, seconds)

        monkeypatch.setattr(WatchStream, "read", read)
        await leader.create("before")  # ends the current read; the next one hangs
        await eventually("the watch to hang", lambda: hung)
        await asyncio.wait_for(leader.create("x"), 15)
        await eventually("the watch to be opened again", lambda: "x" in victim.names(), 15)


class Silence:
    """A stream without messages."""

    async def read(self) -> Any:
        await asyncio.Event().wait()
