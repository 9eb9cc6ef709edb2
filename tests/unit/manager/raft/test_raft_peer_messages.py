"""Messages from peers: accepted only from the member that they name, refused for removed and unknown members."""

from types import SimpleNamespace
from typing import Any

import pytest

from covey.errors import NotFoundError, PermissionDeniedError
from manager.raft.core import Message, MessageKind
from manager.raft.peer_messages import PeerMessages
from manager.store.consensus import Leadership, Member

ME, PEER, REMOVED, UNKNOWN = 1, 2, 3, 9


class Driver:
    """Stands in for the driver: records what reaches it."""

    def __init__(self, *, leader_id: int = 0, is_leader: bool = False, voter: bool = True) -> None:
        self.id = ME
        self.received: list[Message] = []
        self.suspected: list[int] = []
        self.addresses: dict[int, str] = {}
        self.heard_from: list[int] = []
        members = [Member(raft_id=ME, node_id="node-1", voter=voter), Member(raft_id=PEER, node_id="node-2")]
        self.applied = SimpleNamespace(members={m.raft_id: m for m in members}, removed_ids={REMOVED: None})
        self.leadership = SimpleNamespace(value=Leadership(leader_id=leader_id, is_leader=is_leader))
        self.transport = SimpleNamespace(
            record_received=self.heard_from.append, set_peer_address=self.addresses.__setitem__
        )

    def receive(self, message: Message) -> None:
        self.received.append(message)

    def suspect_leader(self, raft_id: int) -> None:
        self.suspected.append(raft_id)


def messages(**state: Any) -> tuple[PeerMessages, Driver]:
    driver = Driver(**state)
    return PeerMessages(driver), driver  # type: ignore[arg-type]  # the parts of it that are used


def heartbeat(from_: int, to: int = ME) -> Message:
    return Message(MessageKind.HEARTBEAT, to, from_, 1)


def test_a_message_of_a_member_reaches_the_driver_and_counts_as_a_sign_of_life() -> None:
    peers, driver = messages()
    peers.receive(heartbeat(PEER), "node-2")
    assert driver.received == [heartbeat(PEER)]
    assert driver.heard_from == [PEER]


def test_another_node_cannot_send_as_a_member() -> None:
    peers, driver = messages()
    with pytest.raises(PermissionDeniedError, match="node node-9 may not send as manager node-2"):
        peers.receive(heartbeat(PEER), "node-9")
    assert not driver.received


def test_a_removed_member_is_told_so() -> None:
    peers, driver = messages()
    with pytest.raises(NotFoundError, match="raft member 3 was removed"):
        peers.receive(heartbeat(REMOVED), "node-3")
    with pytest.raises(NotFoundError, match="raft member 3 was removed"):
        peers.announced("node-3", REMOVED, "host:1")
    with pytest.raises(NotFoundError, match="raft member 3 was removed"):
        peers.announced("node-3", REMOVED, "")
    assert not driver.received


@pytest.mark.parametrize(
    ("state", "accepted"),
    [
        ({"leader_id": PEER}, False),
        ({"leader_id": 0}, True),
        ({"leader_id": UNKNOWN}, True),
        ({"leader_id": PEER, "voter": False}, True),
    ],
    ids=["follows another", "follows nobody", "follows it", "is no voter yet"],
)
def test_an_unknown_member_may_be_one_that_this_node_has_not_learned_of(state: dict[str, Any], accepted: bool) -> None:
    peers, driver = messages(**state)
    if accepted:
        peers.receive(heartbeat(UNKNOWN), "node-9")
    else:
        with pytest.raises(PermissionDeniedError, match="raft member 9, which does not exist"):
            peers.receive(heartbeat(UNKNOWN), "node-9")
    assert bool(driver.received) is accepted


def test_a_message_to_an_earlier_membership_of_this_node_is_dropped() -> None:
    peers, driver = messages()
    peers.receive(heartbeat(PEER, to=77), "node-2")
    assert not driver.received
    assert not driver.heard_from


def test_only_the_member_itself_announces_its_address() -> None:
    peers, driver = messages()
    peers.announced("node-9", PEER, "elsewhere:1")
    assert driver.addresses == {}
    peers.announced("node-2", PEER, "host:2")
    assert driver.addresses == {PEER: "host:2"}
    peers.announced("node-2", PEER, "")
    assert driver.addresses == {PEER: "host:2"}


def test_a_leader_knows_that_an_unknown_member_was_removed() -> None:
    peers, _ = messages(is_leader=True, leader_id=ME)
    with pytest.raises(NotFoundError):
        peers.announced("node-9", UNKNOWN, "host:9")


def test_the_end_of_a_stream_makes_its_member_suspect() -> None:
    peers, driver = messages()
    peers.disconnected("node-2")
    peers.disconnected("node-9")
    assert driver.suspected == [PEER]
