"""Translation of store transactions to etcd transactions and back from watch events, and of all keys to a store snapshot. Pure.

Invariant: the etcd transaction compares what the store would check: the version of each object that it changes, and the fence, so a
former leader writes nothing. The head is written at the same revision, so every watcher can rebuild the store's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from coveypb.etcd import rpc_pb2
from coveypb.v1 import store_pb2
from manager.etcd.encryption import ValueCipher
from manager.etcd.group_state import Leader
from manager.etcd.keyspace import Keyspace

Commit = store_pb2.StoreCommit
Change = store_pb2.StoreChange
Compare = rpc_pb2.Compare
RequestOp = rpc_pb2.RequestOp


class ForeignWriteError(Exception):
    """Objects in etcd were changed by a process that is no manager of this cluster: the head is missing or does not match."""


def fence_compare(keys: Keyspace, leader: Leader) -> rpc_pb2.Compare:
    """A comparison that holds while the leadership lasts and its fence has not moved."""
    return Compare(target=Compare.MOD, key=keys.leader, mod_revision=leader.fence)


def etcd_transaction(keys: Keyspace, cipher: ValueCipher, data: bytes) -> rpc_pb2.TxnRequest:
    """The etcd transaction of an encoded store transaction, without the fence. See ``with_fence``."""
    commit = Commit.FromString(data)
    head = Commit(request_id=commit.request_id, timestamp_ns=commit.timestamp_ns, author=commit.author)
    request = rpc_pb2.TxnRequest()
    for change in commit.changes:
        kind, item = _object(change)
        key = keys.object(kind, item.id)
        entry = head.changes.add(action=change.action)
        reference = getattr(entry, kind)
        reference.id = item.id
        if change.action == Change.ACTION_CREATE:
            request.compare.add(target=Compare.CREATE, key=key, create_revision=0)
        else:
            reference.meta.version = item.meta.version
            request.compare.add(target=Compare.MOD, key=key, mod_revision=item.meta.version)
        if change.action == Change.ACTION_REMOVE:
            request.success.add(request_delete_range=rpc_pb2.DeleteRangeRequest(key=key))
            continue
        item.meta.version = 0  # the version is the revision of the key
        item.meta.updated_at_ns = commit.timestamp_ns
        if change.action == Change.ACTION_CREATE:
            item.meta.created_at_ns = commit.timestamp_ns
        value = cipher.seal(key, item.SerializeToString())
        request.success.add(request_put=rpc_pb2.PutRequest(key=key, value=value))
    sealed = cipher.seal(keys.last_transaction, head.SerializeToString())
    request.success.add(request_put=rpc_pb2.PutRequest(key=keys.last_transaction, value=sealed))
    request.failure.add(request_range=rpc_pb2.RangeRequest(key=keys.leader))
    return request


def with_fence(request: rpc_pb2.TxnRequest, keys: Keyspace, leader: Leader) -> rpc_pb2.TxnRequest:
    """The transaction with the comparison of the leader's fence."""
    return rpc_pb2.TxnRequest(
        compare=[fence_compare(keys, leader), *request.compare], success=request.success, failure=request.failure
    )


def store_transaction(keys: Keyspace, cipher: ValueCipher, events: Sequence[rpc_pb2.Event]) -> tuple[int, bytes] | None:
    """The request id and the encoded store transaction of one revision's events. None if they change no objects.

    Raises:
        ForeignWriteError: objects changed without a matching head.
    """
    objects = {bytes(event.kv.key): event for event in events if keys.object_of(event.kv.key) is not None}
    head = next(
        (event for event in events if event.kv.key == keys.last_transaction and event.type == rpc_pb2.Event.PUT), None
    )
    if head is None:
        if objects:
            raise ForeignWriteError
        return None
    commit = Commit.FromString(cipher.open(keys.last_transaction, head.kv.value))
    for change in commit.changes:
        kind, reference = _object(change)
        key = keys.object(kind, reference.id)
        event = objects.pop(key, None)
        if event is None or (event.type == rpc_pb2.Event.DELETE) != (change.action == Change.ACTION_REMOVE):
            raise ForeignWriteError
        if change.action != Change.ACTION_REMOVE:
            version = reference.meta.version
            reference.ParseFromString(cipher.open(key, event.kv.value))
            reference.meta.version = version
    if objects:
        raise ForeignWriteError
    return commit.request_id, commit.SerializeToString()


class SnapshotBuilder:
    """Builds a store snapshot from pages of keys. The order of keys brings services before their tasks."""

    def __init__(self, keys: Keyspace, cipher: ValueCipher) -> None:
        self._keys = keys
        self._cipher = cipher
        self._parts: list[bytes] = []
        self._specs: dict[str, tuple[bytes, bytes]] = {}

    def add(self, kvs: Iterable[rpc_pb2.KeyValue]) -> None:
        """Raises ForeignWriteError for an object of an unknown kind, ConflictError for a value that cannot be decrypted."""
        part = store_pb2.StoreSnapshot()
        for kv in kvs:
            found = self._keys.object_of(kv.key)
            if found is None:
                continue
            field: Any = getattr(part, f"{found[0]}s", None)
            if field is None:
                raise ForeignWriteError
            item = field.add()
            item.ParseFromString(self._cipher.open(kv.key, kv.value))
            item.meta.version = kv.mod_revision
            if found[0] == "service":
                self._specs[item.id] = (_bytes(item.spec.task), _bytes(item.previous_spec.task))
            elif found[0] == "task":
                part.task_specs.append(self._without_shared_spec(item))
        self._parts.append(part.SerializeToString())

    def whole(self) -> bytes:
        return b"".join(self._parts)

    def _without_shared_spec(self, task: Any) -> store_pb2.TaskSpecSource.ValueType:
        """Clears a spec that equals the one of the task's service, so that both share one object."""
        spec, previous = self._specs.get(task.service_id, (b"", b""))
        own = _bytes(task.spec)
        if not own or own not in {spec, previous}:
            return store_pb2.TASK_SPEC_SOURCE_TASK
        task.ClearField("spec")
        return (
            store_pb2.TASK_SPEC_SOURCE_SERVICE_SPEC if own == spec else store_pb2.TASK_SPEC_SOURCE_PREVIOUS_SERVICE_SPEC
        )


def _bytes(message: Any) -> bytes:
    data: bytes = message.SerializeToString(deterministic=True)
    return data


def initial_put(keys: Keyspace, cipher: ValueCipher, kind: str, item: Any, now_ns: int) -> rpc_pb2.RequestOp:
    """Creates an object outside a store transaction, for a new cluster."""
    item.meta.version = 0
    item.meta.created_at_ns = item.meta.updated_at_ns = now_ns
    key = keys.object(kind, item.id)
    return RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=cipher.seal(key, item.SerializeToString())))


def _object(change: store_pb2.StoreChange) -> tuple[str, Any]:
    kind = change.WhichOneof("object")
    if kind is None:
        raise ValueError(
            "a transaction in etcd changes an object of an unknown kind: a newer version of Covey wrote it. Upgrade this manager"
        )
    return kind, getattr(change, kind)
