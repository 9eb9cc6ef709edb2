"""Messages from peers: checks that each one comes from the member it names, and passes it to the driver.

Invariant: a message is accepted only from the node whose certificate belongs to the member in its `from` field. Removed
members are told so. Called by the gRPC service.
"""

from __future__ import annotations

from covey.errors import NotFoundError, PermissionDeniedError
from manager.raft.core import NO_PEER, Message
from manager.raft.driver import RaftDriver


class PeerMessages:
    """The receiving side of one node. ``sender`` is always the node id in the caller's certificate."""

    def __init__(self, driver: RaftDriver) -> None:
        self._driver = driver

    def receive(self, message: Message, sender: str) -> None:
        """Takes a message other than a snapshot. Raises as `_accepts`."""
        if self._accepts(message, sender):
            self._driver.receive(message)

    async def receive_snapshot(self, message: Message, sender: str) -> None:
        """Returns when the snapshot is decoded. Raises as `_accepts`; UnavailableError: another one is being decoded."""
        if self._accepts(message, sender):
            await self._driver.receive_snapshot(message)

    def announced(self, sender: str, raft_id: int, addr: str) -> None:
        """The sender says which member it is, and at which address unless ``addr`` is empty. So a member that has moved is reached
        before a majority can commit its new address.

        Raises:
            NotFoundError: the member was removed.
        """
        driver = self._driver
        members = driver.applied.members
        is_leader = driver.leadership.value.is_leader
        if raft_id in driver.applied.removed_ids or (is_leader and raft_id not in members):
            raise NotFoundError(f"raft member {raft_id:x} was removed from the cluster")
        if addr and raft_id in members and members[raft_id].node_id == sender:
            driver.transport.set_peer_address(raft_id, addr)

    def disconnected(self, sender: str) -> None:
        """The sender's message stream has ended, most likely because its process ended."""
        for member in self._driver.applied.members.values():
            if member.node_id == sender:
                self._driver.suspect_leader(member.raft_id)

    def _accepts(self, message: Message, sender: str) -> bool:
        """Whether to process the message. An unknown sender may be a member that this node has not learned of yet.

        A voter accepts messages of an unknown member only while it follows nobody, or follows that member; when it hears no
        more from its leader it soon follows nobody. A node that is no voter yet accepts all.

        Raises:
            NotFoundError: the member was removed; PermissionDeniedError: the sender is not that member.
        """
        driver = self._driver
        if message.from_ in driver.applied.removed_ids:
            raise NotFoundError(f"raft member {message.from_:x} was removed from the cluster")
        members = driver.applied.members
        member, own = members.get(message.from_), members.get(driver.id)
        follows_another = driver.leadership.value.leader_id not in {NO_PEER, message.from_}
        if member is None and follows_another and own is not None and own.voter:
            raise PermissionDeniedError(f"node {sender} sends as raft member {message.from_:x}, which does not exist")
        if member is not None and member.node_id != sender:
            raise PermissionDeniedError(f"node {sender} may not send as manager {member.node_id}")
        if message.to != driver.id:
            return False  # addressed to an earlier membership of this node
        driver.transport.record_received(message.from_)
        return True
