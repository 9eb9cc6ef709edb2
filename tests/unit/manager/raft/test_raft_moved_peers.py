"""A peer is written to where it says that it is, until the membership says something new."""

from typing import Any

from manager.raft.core import Message
from manager.raft.transport import Transport
from manager.store import Member

TWO, THREE = Member(raft_id=2, node_id="b", addr="b:1"), Member(raft_id=3, node_id="c", addr="c:1")


class Listener:
    def unreachable(self, peer: int) -> None: ...

    def snapshot_sent(self, peer: int, *, ok: bool) -> None: ...

    def told_removed(self) -> None: ...


async def _no_snapshot(_index: int) -> Any:
    raise AssertionError("no snapshot is sent here")


def transport() -> Transport:
    made = Transport(1, "cluster", lambda: None, Listener(), _no_snapshot, addr="a:1")  # type: ignore[arg-type]
    made.set_members((Member(raft_id=1, node_id="a", addr="a:1"), TWO, THREE))
    return made


def addrs(of: Transport) -> dict[int, str]:
    return {raft_id: link.member.addr for raft_id, link in of._links.items()}


def test_a_peer_that_says_where_it_is_is_written_to_there_and_others_as_before() -> None:
    links = transport()
    links.moved(2, "b:9")
    assert addrs(links) == {2: "b:9", 3: "c:1"}
    links.set_members((TWO, THREE))
    assert addrs(links) == {2: "b:9", 3: "c:1"}, "another change of the membership says nothing of it"


def test_what_the_membership_says_later_counts() -> None:
    links = transport()
    links.moved(2, "b:9")
    links.set_members((Member(raft_id=2, node_id="b", addr="b:5"), THREE))
    assert addrs(links) == {2: "b:5", 3: "c:1"}


def test_who_is_no_member_cannot_be_told_to_be_anywhere() -> None:
    links = transport()
    links.moved(7, "x:1")
    links.send([Message(kind=1, to=7)])  # type: ignore[arg-type]
    assert addrs(links) == {2: "b:1", 3: "c:1"}
