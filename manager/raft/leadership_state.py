"""Leadership of the Raft group as this manager publishes it to the rest of the process.

Invariant: a manager is published as leader only when every entry of earlier terms is applied, and not while its
leadership is suspended because it may have missed an election. Called by the driver.
"""

from __future__ import annotations

from collections.abc import Callable

from manager.raft.core import NO_PEER, HardState, Role, SoftState
from manager.store.consensus import Leadership
from manager.store.observable import ObservableValue

_ANNOUNCE_TICKS = 10


class LeadershipState:
    """Role, leader and term of this node, and the leadership that follows from them."""

    def __init__(self, term: int, address_of: Callable[[int], str]) -> None:
        """``address_of`` returns the address of a member, or an empty string."""
        self.published = ObservableValue(Leadership())
        self.term = term
        self.role = Role.FOLLOWER
        self.is_suspended = False
        self._leader_id = NO_PEER
        self._ticks_without_leader = 0
        self._address_of = address_of

    def update(self, soft_state: SoftState | None, hard_state: HardState | None) -> None:
        """Takes the changes of a `Ready`; `publish` comes after its entries are applied."""
        if soft_state:
            self.role, self._leader_id = soft_state.role, soft_state.leader
        if hard_state:
            self.term = hard_state.term
        if self.role is not Role.LEADER:
            self.is_suspended = False

    def tick(self) -> bool:
        """Counts one tick. Returns whether this node should announce itself to its peers: once per second without a leader."""
        self._ticks_without_leader = 0 if self._leader_id != NO_PEER else self._ticks_without_leader + 1
        return self._ticks_without_leader > 0 and self._ticks_without_leader % _ANNOUNCE_TICKS == 0

    def publish(self, applied_term: int) -> None:
        """Publishes the present state. A leader counts as one once an entry of its own term is applied."""
        leader_id = NO_PEER if self.is_suspended else self._leader_id
        self.published.set(
            Leadership(
                is_leader=self.role is Role.LEADER and applied_term == self.term and not self.is_suspended,
                leader_id=leader_id,
                leader_addr=self._address_of(leader_id),
                term=self.term,
            )
        )

    def suspend(self) -> None:
        """Publishes at once that no leader is known, although the core still leads."""
        self.is_suspended = True
        self.withdraw()

    def withdraw(self) -> None:
        """Publishes that no leader is known."""
        self.published.set(Leadership(term=self.term))
