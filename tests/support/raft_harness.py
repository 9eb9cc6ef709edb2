"""Harness for one node of the Raft core: feeds it messages and ticks and returns what it sends."""

from __future__ import annotations

from typing import Any

from manager.raft.core import (
    ConfChange,
    Entry,
    EntryKind,
    MemoryStorage,
    Message,
    MessageKind,
    RaftConfig,
    RawNode,
    Ready,
    Role,
    bootstrap_snapshot,
)


class ShortestTimeout:
    def randint(self, a: int, b: int, /) -> int:  # noqa: ARG002
        return a


def storage(size: int, terms: tuple[int, ...] = (), term: int = 1) -> MemoryStorage:
    """Storage of a new cluster of `size` members, with entries of these terms from index 2 on."""
    disk = MemoryStorage()
    disk.apply_snapshot(bootstrap_snapshot(range(1, size + 1)))
    disk.append([Entry(entry_term, index, data=b"%d" % index) for index, entry_term in enumerate(terms, start=2)])
    hard, _ = disk.initial_state()
    disk.set_hard_state(type(hard)(max(term, *terms, 0), 0, 1))
    return disk


class NodeHarness:
    """Node 1, its storage, and the messages that it sent."""

    def __init__(self, size: int = 3, terms: tuple[int, ...] = (), term: int = 1, **config: Any) -> None:
        self.disk = storage(size, terms, term)
        self.node = RawNode(RaftConfig(id=1, random=ShortestTimeout(), **config), self.disk)
        self.sent: list[Message] = []
        self.applied: list[Entry] = []

    @property
    def state(self) -> Any:
        return self.node._state

    def restart(self) -> None:
        """Restarts the process on the same storage."""
        self.node = RawNode(self.state.config, self.disk)

    def write(self, ready: Ready) -> None:
        if ready.snapshot:
            self.disk.apply_snapshot(ready.snapshot)
        self.disk.append(ready.entries)
        if ready.hard_state:
            self.disk.set_hard_state(ready.hard_state)

    def pump(self) -> list[Message]:
        """Runs the driver's loop until the node is idle; returns what it sent."""
        sent: list[Message] = []
        while self.node.has_ready():
            ready = self.node.ready()
            self.write(ready)
            sent += ready.messages + ready.messages_after_sync
            self.applied += ready.committed
            for entry in ready.committed:
                if entry.kind is EntryKind.CONF_CHANGE:
                    self.node.apply_conf_change(ConfChange.decode(entry.data))
            self.node.advance(ready)
        self.sent += sent
        return sent

    def receive(self, kind: MessageKind, from_: int = 2, **fields: Any) -> list[Message]:
        fields.setdefault("term", self.state.term)
        self.node.step(Message(kind, 1, from_, **fields))
        return self.pump()

    def tick(self, count: int = 1) -> list[Message]:
        for _ in range(count):
            self.node.tick()
        return self.pump()

    def lead(self) -> NodeHarness:
        """Makes node 1 the leader with the votes of all others."""
        self.node.campaign()
        self.pump()
        voters = [peer for peer in self.state.tracker.voters() if peer != 1]
        if self.state.role is Role.PRE_CANDIDATE:
            for peer in voters:
                self.receive(MessageKind.PRE_VOTE_REPLY, peer, term=self.state.term + 1)
                if self.state.role is not Role.PRE_CANDIDATE:
                    break
        for peer in voters:
            if self.state.role is Role.CANDIDATE:
                self.receive(MessageKind.VOTE_REPLY, peer)
        assert self.state.role is Role.LEADER
        return self

    def leader_with_followers(self) -> NodeHarness:
        """Makes node 1 the leader; all followers acknowledge its first entry."""
        self.lead()
        for peer in self.state.tracker.progress:
            if peer != 1:
                self.receive(MessageKind.APPEND_REPLY, peer, index=self.state.log.last_index())
        self.sent.clear()
        return self
