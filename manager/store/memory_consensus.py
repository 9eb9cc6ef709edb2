"""In-memory consensus of a single process: every proposal is committed at once, and nothing survives the process.

A real consensus for tests of code above the store: ``Store(MemoryConsensus)``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from manager.store.consensus import Leadership, Member, NotLeaderError, StateMachine
from manager.store.observable import ObservableValue

_SELF = Member(raft_id=1, node_id="memory", addr="127.0.0.1:2378")


class MemoryConsensus:
    """Leads from the start. ``lead`` gives leadership away or takes it back."""

    def __init__(self, machine: StateMachine) -> None:
        self._machine = machine
        self._index = 0
        self._leadership = ObservableValue(Leadership(is_leader=True, leader_id=1, leader_addr=_SELF.addr, term=1))

    @property
    def leadership(self) -> Leadership:
        return self._leadership.value

    @property
    def unavailable_reason(self) -> str:
        return ""

    @contextmanager
    def subscribe(self) -> Iterator[AsyncIterator[Leadership]]:
        with self._leadership.subscribe() as changes:
            yield changes

    def lead(self, *, leading: bool) -> None:
        term = self.leadership.term + 1
        if leading:
            self._leadership.set(Leadership(is_leader=True, leader_id=1, leader_addr=_SELF.addr, term=term))
        else:
            self._leadership.set(Leadership(leader_id=2, leader_addr="127.0.0.2:2378", term=term))

    async def propose(self, data: bytes) -> int:
        if not self.leadership.is_leader:
            raise NotLeaderError(self.leadership.leader_addr)
        self._index += 1
        self._machine.apply(self._index, data)
        return self._index

    async def read_index(self) -> int:
        return self._index

    def members(self) -> tuple[Member, ...]:
        return (_SELF,)

    def last_heard_seconds(self, _node_id: str) -> float | None:
        return None
