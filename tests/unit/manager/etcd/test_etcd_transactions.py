"""Translation of transactions for etcd, encryption of values, and the group state, without an etcd."""

from pathlib import Path

import pytest

from covey.errors import ConflictError
from covey.objects import Annotations, Config, ConfigSpec, Meta, replace
from coveypb.etcd import rpc_pb2
from manager.etcd.encryption import OVERHEAD_BYTES, ValueCipher, load_key, new_key, save_key
from manager.etcd.group_state import GroupState, Leader, numeric_member_id
from manager.etcd.keyspace import Keyspace
from manager.etcd.transactions import (
    ForeignWriteError,
    SnapshotBuilder,
    etcd_transaction,
    store_transaction,
    with_fence,
)
from manager.store import MAX_BYTES, MAX_CHANGES, log, snapshot
from manager.store.commit import Action, Change

KEYS = Keyspace("/covey")
SEALER = ValueCipher(bytes(32), "c")
LEADER = Leader(node_id="m1", addr="m1:1", term=5, fence=9)


def config(name: str, data: bytes = b"", version: int = 0) -> Config:
    spec = ConfigSpec(annotations=Annotations(name=name), data=data)
    return Config(id=f"id-{name}", meta=Meta(version=version, created_at_ns=3, updated_at_ns=4), spec=spec)


CHANGES = (
    Change(Action.CREATE, None, config("new", b"1")),
    Change(Action.UPDATE, config("old", b"1", 7), config("old", b"2", 7)),
    Change(Action.REMOVE, config("gone", b"1", 8), None),
)


def carried_out(request: rpc_pb2.TxnRequest, revision: int) -> list[rpc_pb2.Event]:
    """The events that etcd makes of a transaction that succeeded."""
    events = []
    for one in request.success:
        if one.HasField("request_put"):
            put = one.request_put
            kv = rpc_pb2.KeyValue(key=put.key, value=put.value, mod_revision=revision, create_revision=revision)
            events.append(rpc_pb2.Event(type=rpc_pb2.Event.PUT, kv=kv))
        else:
            kv = rpc_pb2.KeyValue(key=one.request_delete_range.key, mod_revision=revision)
            events.append(rpc_pb2.Event(type=rpc_pb2.Event.DELETE, kv=kv))
    return events


def test_a_transaction_compares_the_fence_and_every_expected_version() -> None:
    request = with_fence(etcd_transaction(KEYS, SEALER, log.encode(1, CHANGES, 99)), KEYS, LEADER)
    compared = [(c.key.decode(), c.WhichOneof("target_union"), c.mod_revision) for c in request.compare]
    assert compared == [
        ("/covey/leader", "mod_revision", 9),
        ("/covey/objects/config/id-new", "create_revision", 0),
        ("/covey/objects/config/id-old", "mod_revision", 7),
        ("/covey/objects/config/id-gone", "mod_revision", 8),
    ]
    assert request.success[-1].request_put.key == KEYS.last_transaction


def test_a_transaction_is_rebuilt_from_its_events() -> None:
    events = carried_out(etcd_transaction(KEYS, SEALER, log.encode(77, CHANGES, 99)), 12)
    found = store_transaction(KEYS, SEALER, events)
    assert found is not None
    request_id, data = found
    proposal = log.decode(data)
    assert request_id == proposal.request_id == 77
    assert proposal.timestamp_ns == 99
    seen = [(p.action, p.object_id, p.expected_version, p.item.spec.data if p.item else None) for p in proposal.changes]
    assert seen == [
        (Action.CREATE, "id-new", 0, b"1"),
        (Action.UPDATE, "id-old", 7, b"2"),
        (Action.REMOVE, "id-gone", 8, None),
    ]


def test_a_snapshot_of_the_keys_has_creation_and_update_times() -> None:
    events = carried_out(etcd_transaction(KEYS, SEALER, log.encode(77, CHANGES, 99)), 12)
    pages = SnapshotBuilder(KEYS, SEALER)
    pages.add([event.kv for event in events if event.type == rpc_pb2.Event.PUT])
    view, _ = snapshot.decode(12, pages.whole())
    assert view.configs.get("id-new") == replace(
        config("new", b"1"), meta=Meta(version=12, created_at_ns=99, updated_at_ns=99)
    )
    assert view.configs.get("id-old").meta == Meta(version=12, created_at_ns=3, updated_at_ns=99)


def test_objects_changed_without_a_head_are_detected() -> None:
    events = carried_out(etcd_transaction(KEYS, SEALER, log.encode(1, CHANGES, 99)), 12)
    stray = rpc_pb2.Event(kv=rpc_pb2.KeyValue(key=KEYS.object("config", "stray"), value=b"x", mod_revision=12))
    for foreign in ([stray], [*events, stray], events[1:], [e for e in events if e.kv.key != KEYS.last_transaction]):
        with pytest.raises(ForeignWriteError):
            store_transaction(KEYS, SEALER, foreign)
    lease = rpc_pb2.Event(kv=rpc_pb2.KeyValue(key=KEYS.alive("m1"), value=b"a", mod_revision=13))
    assert store_transaction(KEYS, SEALER, [lease]) is None


def test_the_largest_transactions_fit_the_limits_of_etcd() -> None:
    keys = Keyspace("/" + "p" * 63)
    each = (MAX_BYTES - 4096) // MAX_CHANGES - 100
    changes = [
        Change(Action.UPDATE, config(f"{n:025}", b"", 1 << 40), config(f"{n:025}", bytes(each), 1 << 40))
        for n in range(MAX_CHANGES)
    ]
    data = log.encode(1 << 63, changes, 1 << 62)
    assert len(data) <= MAX_BYTES
    request = with_fence(etcd_transaction(keys, SEALER, data), keys, LEADER)
    assert len(request.compare) <= 128
    assert len(request.success) <= 128
    assert request.ByteSize() < 3 << 19


def test_a_value_decrypts_only_at_its_own_key_and_with_its_own_cluster() -> None:
    key = new_key()
    sealed = ValueCipher(key, "c").seal(b"/a", b"hunter2")
    assert len(sealed) == len(b"hunter2") + OVERHEAD_BYTES
    assert ValueCipher(key, "c").open(b"/a", sealed) == b"hunter2"
    flipped = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for cipher, place, value in (
        (ValueCipher(key, "c"), b"/b", sealed),
        (ValueCipher(key, "d"), b"/a", sealed),
        (ValueCipher(new_key(), "c"), b"/a", sealed),
        (ValueCipher(key, "c"), b"/a", flipped),
        (ValueCipher(key, "c"), b"/a", sealed[:20]),
        (ValueCipher(key, "c"), b"/a", b""),
        (ValueCipher(key, "c"), b"/a", b"\x02" + sealed[1:]),
    ):
        with pytest.raises(ConflictError, match=f"the value of {place.decode()} in etcd cannot be decrypted"):
            cipher.open(place, value)


def test_no_two_encryptions_are_alike() -> None:
    key = new_key()
    one, other = ValueCipher(key, "c"), ValueCipher(key, "c")
    heads = {cipher.seal(b"/a", b"x")[:25] for cipher in (one, one, other, other)}
    assert len(heads) == 4


def test_the_store_key_file_is_readable_only_by_its_owner(tmp_path: Path) -> None:
    assert load_key(tmp_path) is None
    save_key(tmp_path / "identity", b"k" * 32)
    assert (tmp_path / "identity" / "store.key").stat().st_mode & 0o777 == 0o600
    assert load_key(tmp_path / "identity") == b"k" * 32
    assert load_key(tmp_path / "identity", lambda data: data[::-1]) == b"k" * 32


def put(group_state: GroupState, key: bytes, value: bytes, *, created: int = 3, changed: int = 4) -> None:
    group_state.put(rpc_pb2.KeyValue(key=key, value=value, create_revision=created, mod_revision=changed))


def test_the_group_state_has_members_running_managers_and_the_leader() -> None:
    group_state = GroupState(KEYS)
    for name in ("m2", "m1"):
        put(group_state, KEYS.member(name), f"{name}:2378".encode())
    put(group_state, KEYS.alive("m1"), b"m1:2378")
    put(group_state, KEYS.leader, b'{"node_id":"m1","addr":"m1:2378"}', created=5, changed=9)
    put(group_state, KEYS.object("config", "x"), b"no matter")
    assert group_state.leader == Leader(node_id="m1", addr="m1:2378", term=5, fence=9)
    assert [(m.node_id, m.addr, m.reachable, m.voter) for m in group_state.members()] == [
        ("m1", "m1:2378", True, True),
        ("m2", "m2:2378", False, False),
    ]
    assert group_state.members()[0].raft_id == numeric_member_id("m1") != numeric_member_id("m2")
    for key in (KEYS.leader, KEYS.alive("m1"), KEYS.member("m2")):
        group_state.delete(key)
    assert group_state.leader is None
    assert [(m.node_id, m.reachable) for m in group_state.members()] == [("m1", False)]
