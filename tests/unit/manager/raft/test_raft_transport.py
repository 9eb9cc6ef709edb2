"""Transport: peers that announce a new address are written to there, and each snapshot is reported."""

import asyncio
from typing import Any

import grpc

from manager.raft.core import Message, MessageKind, Snapshot, SnapshotMeta
from manager.raft.transport import Transport
from manager.store import Member

TWO, THREE = Member(raft_id=2, node_id="b", addr="b:1"), Member(raft_id=3, node_id="c", addr="c:1")


SNAPSHOT = Message(MessageKind.SNAPSHOT, 2, 1, 2, snapshot=Snapshot(SnapshotMeta(9, 2)))


class Listener:
    def __init__(self) -> None:
        self.snapshots: asyncio.Queue[tuple[int, bool]] = asyncio.Queue()

    def report_unreachable(self, peer: int) -> None: ...

    def report_snapshot(self, peer: int, *, ok: bool) -> None:
        self.snapshots.put_nowait((peer, ok))

    def report_removed(self) -> None: ...


async def _lost_snapshot(_index: int) -> Any:
    raise OSError("the file is not there")


def transport(listener: Listener | None = None) -> Transport:
    credentials = grpc.ssl_channel_credentials
    made = Transport(1, "cluster", credentials, listener or Listener(), _lost_snapshot, addr="a:1")
    made.set_members((Member(raft_id=1, node_id="a", addr="a:1"), TWO, THREE))
    return made


def addrs(of: Transport) -> dict[int, str]:
    return {raft_id: link.member.addr for raft_id, link in of._links.items()}


def test_a_peer_is_reached_at_the_address_that_it_announced() -> None:
    links = transport()
    links.set_peer_address(2, "b:9")
    assert addrs(links) == {2: "b:9", 3: "c:1"}
    links.set_members((TWO, THREE))
    assert addrs(links) == {2: "b:9", 3: "c:1"}, "another change of the membership says nothing of it"


def test_a_later_address_in_the_membership_replaces_the_announced_one() -> None:
    links = transport()
    links.set_peer_address(2, "b:9")
    links.set_members((Member(raft_id=2, node_id="b", addr="b:5"), THREE))
    assert addrs(links) == {2: "b:5", 3: "c:1"}


def test_an_announced_address_of_an_unknown_member_is_ignored() -> None:
    links = transport()
    links.set_peer_address(7, "x:1")
    links.send([Message(kind=1, to=7)])  # type: ignore[arg-type]
    assert addrs(links) == {2: "b:1", 3: "c:1"}


async def test_a_snapshot_queued_before_the_link_starts_is_sent() -> None:
    """1. A peer announces another address, so it gets a new link. 2. The link gets a snapshot before its task runs. 3. The task
    starts with that snapshot and reports it; until then the core would send the peer nothing else.
    """
    listener = Listener()
    links = transport(listener)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(links.run())
        await asyncio.sleep(0)
        links.set_peer_address(2, "b:9")
        links.send([SNAPSHOT])
        async with asyncio.timeout(5):
            assert await listener.snapshots.get() == (2, False), "the file is not there, which is told"
        running.cancel()


async def test_a_snapshot_in_a_closed_link_is_reported_as_failed() -> None:
    listener = Listener()
    links = transport(listener)
    links.send([SNAPSHOT])
    links.set_peer_address(2, "b:9")
    assert listener.snapshots.get_nowait() == (2, False)
    assert listener.snapshots.empty()
