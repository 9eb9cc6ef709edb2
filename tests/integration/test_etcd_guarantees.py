"""Guarantees of managers on a real etcd that only show under a fault: fresh reads, lease time, fences, and watches that hang."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from covey.errors import DeadlineError
from manager.etcd.errors import NoAnswerError
from manager.etcd.lease import boot_time
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
    """One member of three answers. What it has may be old, so neither a fresh read nor the check of the watch takes its word."""
    with etcd_cluster(3) as own:
        async with etcd_store_group(own) as world:
            seat = await world.add_node("m2", store=f"etcd://{own.members[0].endpoint}{world.prefix}")
            await seat.consensus.read_index()
            for member in own.members[1:]:
                own.pause(member)
            try:
                with pytest.raises(NoAnswerError):
                    await seat.consensus._election._latest_revision()
                with pytest.raises(DeadlineError, match="etcd confirmed no read"):
                    await seat.consensus.read_index()
            finally:
                for member in own.members[1:]:
                    own.resume(member)


@pytest.mark.parametrize("request_name", ["grant", "renewal"])
async def test_the_time_of_a_lease_counts_from_before_its_request(etcd: EtcdCluster, request_name: str) -> None:
    """1. The request leaves. 2. etcd starts the lease's time. 3. The answer is late. The lease must not count as longer for that."""
    async with tcp_relays(etcd) as [relay], etcd_store_group(etcd) as world:
        seat = await world.add_node(
            "m2", store=f"etcd://{relay.endpoint}{world.prefix}", ready=request_name == "renewal"
        )
        lease = seat.consensus._lease
        await eventually("no request is under way", lambda: not lease._renewing.locked())
        while not lease._renewing.locked():  # noqa: ASYNC110 - the first moment of the request
            await asyncio.sleep(0)
        relay.answers.clear()
        requested_at, before = boot_time(), lease._valid_until
        await asyncio.sleep(HOLD_SECONDS)
        assert lease._valid_until == before, "the answer is held"
        relay.answers.set()
        await eventually("the answer arrives", lambda: lease._valid_until != before)
        assert lease._valid_until <= requested_at + lease.ttl_seconds + TOLERANCE_SECONDS


async def remove_a_member(old: EtcdStoreNode, others: list[EtcdStoreNode]) -> None:
    await old.consensus.remove_members([others[0].node_id])


async def hand_over(old: EtcdStoreNode, others: list[EtcdStoreNode]) -> None:
    await old.consensus.transfer_leadership([seat.node_id for seat in others])


async def move_the_fence(old: EtcdStoreNode, _others: list[EtcdStoreNode]) -> None:
    leadership = old.consensus._own_leadership
    await leadership.move_fence(leadership.require_leading())
    leadership.require_leading()


@pytest.mark.parametrize("act", [remove_a_member, move_the_fence, hand_over])
async def test_a_deposed_leader_changes_nothing_in_the_group(
    etcd: EtcdCluster,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[EtcdStoreNode, list[EtcdStoreNode]], Awaitable[None]],
) -> None:
    """1. A leads; its watch hangs. 2. Its key is deleted, and B leads. 3. A, which knows nothing of it, changes the group."""
    async with etcd_store_group(etcd, 3) as world:
        old = await world.wait_leader()
        others = [seat for seat in world.nodes if seat is not old]
        monkeypatch.setattr(old.consensus._follower, "_apply", lambda *_: None)
        etcd.ctl("del", world.keys.leader.decode())
        new = await world.wait_leader(but=old)
        term = new.consensus.leadership.term
        assert old.is_leader, "it has not heard that it was deposed"
        try:
            await act(old, others)
        except (NotLeaderError, DeadlineError):
            pass
        else:
            assert act is hand_over, "the other acts are refused"
        await new.consensus.read_index()
        members = etcd.ctl("get", "--prefix", "--keys-only", f"{world.prefix}/members/").split()
        assert members == [f"{world.prefix}/members/m{number}" for number in (1, 2, 3)]
        assert new.is_leader
        assert new.consensus.leadership.term == term, "the key of the new leader is untouched"
        assert new.consensus._own_leadership.leading.fence == term


@pytest.mark.parametrize("victim_leads", [True, False])
async def test_a_watch_that_hangs_while_a_leader_is_known_is_opened_again(
    etcd: EtcdCluster, monkeypatch: pytest.MonkeyPatch, victim_leads: bool
) -> None:
    """The watch brings nothing, although there is something. The manager notices by asking, and opens the watch again."""
    async with etcd_store_group(etcd, 2) as world:
        leader = await world.wait_leader()
        victim = leader if victim_leads else next(seat for seat in world.nodes if seat is not leader)
        hung, real = [], WatchStream.read

        async def read(watch: WatchStream, call: Any, seconds: float | None = None) -> Any:
            if watch is victim.consensus._follower._watch and hung in ([], [call]):
                hung[:] = [call]
                return await real(watch, Silence(), seconds)
            return await real(watch, call, seconds)

        monkeypatch.setattr(WatchStream, "read", read)
        await leader.create("before")  # ends the read that began earlier; the next one hangs
        await eventually("the watch hangs", lambda: hung)
        await asyncio.wait_for(leader.create("x"), 8)
        await eventually("the watch is opened again", lambda: "x" in victim.names(), 8)


class Silence:
    """A stream that brings nothing."""

    async def read(self) -> Any:
        await asyncio.Event().wait()
