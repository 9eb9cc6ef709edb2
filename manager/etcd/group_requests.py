"""Requests to etcd about the group: members, running managers, the leader's key, and the latest revision. Pure.

Invariant: every request that changes the leader's key or the members compares the creation of the leader's key, so a former leader changes
nothing. Only a manager's own registration does not: it compares its member key.
Invariant: no read is serializable. A single member of etcd may be behind; a majority must confirm each answer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from coveypb.etcd import rpc_pb2
from manager.etcd.group_state import LeaderKeyValue
from manager.etcd.keyspace import Keyspace

Compare = rpc_pb2.Compare


def register_manager(keys: Keyspace, node_id: str, addr: str, lease: int) -> rpc_pb2.TxnRequest:
    """Writes a member's address to its member key, and to its alive key for the lifetime of the lease."""
    member, alive = keys.member(node_id), keys.alive(node_id)
    request = rpc_pb2.TxnRequest()
    request.compare.append(_exists(member))
    request.success.add(request_put=rpc_pb2.PutRequest(key=member, value=addr.encode()))
    request.success.add(request_put=rpc_pb2.PutRequest(key=alive, value=addr.encode(), lease=lease))
    return request


def acquire_leadership(keys: Keyspace, node_id: str, addr: str, lease: int) -> rpc_pb2.TxnRequest:
    """Creates the leader's key if there is none and the node is a member."""
    request = rpc_pb2.TxnRequest()
    request.compare.append(_leader_term(keys, 0))
    request.compare.append(_exists(keys.member(node_id)))
    request.success.append(_put_leader(keys, node_id, addr, lease))
    request.success.add(request_delete_range=rpc_pb2.DeleteRangeRequest(key=keys.successors))
    return request


def move_fence(keys: Keyspace, term: int, node_id: str, addr: str, lease: int) -> rpc_pb2.TxnRequest:
    """Writes the leader's key of this term again, which gives it a new revision: the fence."""
    request = rpc_pb2.TxnRequest()
    request.compare.append(_leader_term(keys, term))
    request.success.append(_put_leader(keys, node_id, addr, lease))
    return request


def release_leadership(keys: Keyspace, term: int, successors: Collection[str], lease: int) -> rpc_pb2.TxnRequest:
    """Deletes the leader's key of this term, and names the managers that may lead next."""
    request = rpc_pb2.TxnRequest()
    request.compare.append(_leader_term(keys, term))
    request.success.add(request_delete_range=rpc_pb2.DeleteRangeRequest(key=keys.leader))
    if successors:
        value = msgspec.json.encode(sorted(successors))
        request.success.add(request_put=rpc_pb2.PutRequest(key=keys.successors, value=value, lease=lease))
    return request


def remove_members(keys: Keyspace, term: int, node_ids: Sequence[str]) -> rpc_pb2.TxnRequest:
    """Deletes the keys of these members, while the leader of this term leads."""
    request = rpc_pb2.TxnRequest()
    request.compare.append(_leader_term(keys, term))
    for node_id in node_ids:
        for key in (keys.member(node_id), keys.alive(node_id)):
            request.success.add(request_delete_range=rpc_pb2.DeleteRangeRequest(key=key))
    return request


def latest_transaction(keys: Keyspace) -> rpc_pb2.RangeRequest:
    """Reads the head of the latest transaction."""
    return rpc_pb2.RangeRequest(key=keys.last_transaction)


def latest_change(keys: Keyspace) -> rpc_pb2.TxnRequest:
    """Reads the head of the latest transaction and the leader's key, at one revision."""
    request = rpc_pb2.TxnRequest()
    for key in (keys.last_transaction, keys.leader):
        request.success.add(request_range=rpc_pb2.RangeRequest(key=key))
    return request


def _leader_term(keys: Keyspace, term: int) -> rpc_pb2.Compare:
    """Holds while the leader's key is the one that was created at this revision. 0: there is no leader's key."""
    return Compare(target=Compare.CREATE, key=keys.leader, create_revision=term)


def _exists(key: bytes) -> rpc_pb2.Compare:
    return Compare(target=Compare.CREATE, result=Compare.GREATER, key=key, create_revision=0)


def _put_leader(keys: Keyspace, node_id: str, addr: str, lease: int) -> rpc_pb2.RequestOp:
    value = msgspec.json.encode(LeaderKeyValue(node_id, addr))
    return rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=keys.leader, value=value, lease=lease))
