"""Group state from the keys in etcd: members, running managers, leader and last transaction. Pure, changed only by key events."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from coveypb.etcd import rpc_pb2
from manager.etcd.keyspace import Keyspace
from manager.store.consensus import Member


class Leader(msgspec.Struct, frozen=True, kw_only=True):
    """The leader's key. ``term`` is the revision of its creation, ``fence`` the revision of its last change."""

    node_id: str
    addr: str
    term: int
    fence: int


class LeaderKeyValue(msgspec.Struct, frozen=True):
    """The value of the leader's key."""

    node_id: str
    addr: str


TransactionHead = tuple[int, bytes]
"""Revision and encrypted value of ``PREFIX/last``."""
NO_HEAD: TransactionHead = (0, b"")


def head_of(kvs: Sequence[rpc_pb2.KeyValue]) -> TransactionHead:
    return (kvs[0].mod_revision, bytes(kvs[0].value)) if kvs else NO_HEAD


class GroupState:
    """Members, running managers, leader, successors and last transaction."""

    def __init__(self, keys: Keyspace) -> None:
        self._keys = keys
        self.cluster_id = ""
        self.leader: Leader | None = None
        self.successors: tuple[str, ...] = ()
        self.addresses: dict[str, str] = {}
        self.alive: dict[str, str] = {}
        self.last: TransactionHead = NO_HEAD

    def clear(self) -> None:
        self.cluster_id, self.leader, self.successors, self.addresses, self.alive = "", None, (), {}, {}
        self.last = NO_HEAD

    def put(self, kv: rpc_pb2.KeyValue) -> None:
        """Applies the present value of a key. Keys of objects change nothing."""
        keys = self._keys
        if kv.key == keys.leader:
            claim = msgspec.json.decode(kv.value, type=LeaderKeyValue)
            self.leader = Leader(node_id=claim.node_id, addr=claim.addr, term=kv.create_revision, fence=kv.mod_revision)
        elif kv.key == keys.successors:
            self.successors = msgspec.json.decode(kv.value, type=tuple[str, ...])
        elif kv.key == keys.last_transaction:
            self.last = head_of([kv])
        elif kv.key == keys.cluster:
            self.cluster_id = kv.value.decode()
        elif (member := keys.member_of(kv.key)) is not None:
            self.addresses[member] = kv.value.decode()
        elif (running := keys.alive_of(kv.key)) is not None:
            self.alive[running] = kv.value.decode()

    def delete(self, key: bytes) -> None:
        keys = self._keys
        if key == keys.leader:
            self.leader = None
        elif key == keys.successors:
            self.successors = ()
        elif key == keys.last_transaction:
            self.last = NO_HEAD
        elif key == keys.cluster:
            self.cluster_id = ""
        elif (member := keys.member_of(key)) is not None:
            self.addresses.pop(member, None)
        elif (running := keys.alive_of(key)) is not None:
            self.alive.pop(running, None)

    def same_history(self, other: GroupState) -> bool:
        """Whether both belong to one history. No two heads are encrypted alike, so equal heads are one transaction."""
        return (self.cluster_id, self.last, self.leader, self.successors, self.addresses, self.alive) == (
            other.cluster_id, other.last, other.leader, other.successors, other.addresses, other.alive,
        )  # fmt: skip

    def members(self) -> tuple[Member, ...]:
        """Members in the order of their ids. A manager that does not run has no vote, so removing it needs no quorum."""
        return tuple(
            [
                Member(
                    raft_id=numeric_member_id(node_id),
                    node_id=node_id,
                    addr=self.addresses[node_id],
                    voter=node_id in self.alive,
                    reachable=node_id in self.alive,
                )
                for node_id in sorted(self.addresses)
            ]
        )


def numeric_member_id(node_id: str) -> int:
    """A number for ``Member.raft_id``, derived from the node id: the same on every manager."""
    return int.from_bytes(hashlib.sha256(node_id.encode()).digest()[:8], "big") >> 2 | 1
