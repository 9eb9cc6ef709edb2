"""Requests about the group: what each of them compares, and that reads need a majority. Without an etcd."""

import pytest

from coveypb.etcd import rpc_pb2
from manager.etcd import group_requests
from manager.etcd.keyspace import Keyspace

KEYS = Keyspace("/covey")
Compare = rpc_pb2.Compare


def same_leader(term: int) -> rpc_pb2.Compare:
    return Compare(target=Compare.CREATE, result=Compare.EQUAL, key=b"/covey/leader", create_revision=term)


def is_member(node_id: str) -> rpc_pb2.Compare:
    return Compare(
        target=Compare.CREATE, result=Compare.GREATER, key=f"/covey/members/{node_id}".encode(), create_revision=0
    )


def deleted(request: rpc_pb2.TxnRequest) -> set[bytes]:
    return {op.request_delete_range.key for op in request.success if op.HasField("request_delete_range")}


@pytest.mark.parametrize(
    "request_",
    [
        group_requests.remove_members(KEYS, 7, ["m2"]),
        group_requests.move_fence(KEYS, 7, "m1", "a:1", 3),
        group_requests.release_leadership(KEYS, 7, ["m2"], 3),
    ],
    ids=["removal", "fence", "release"],
)
def test_a_change_of_the_group_compares_the_leaders_term(request_: rpc_pb2.TxnRequest) -> None:
    assert list(request_.compare) == [same_leader(7)]
    assert not request_.failure


def test_leadership_is_acquired_only_by_a_member_while_there_is_no_leader() -> None:
    request = group_requests.acquire_leadership(KEYS, "m1", "a:1", 3)
    assert list(request.compare) == [same_leader(0), is_member("m1")]
    assert request.success[0].request_put.lease == 3


def test_only_a_member_registers_and_only_its_alive_key_ends_with_the_lease() -> None:
    request = group_requests.register_manager(KEYS, "m1", "a:1", 3)
    assert list(request.compare) == [is_member("m1")]
    written = {op.request_put.key: op.request_put.lease for op in request.success}
    assert written == {b"/covey/members/m1": 0, b"/covey/alive/m1": 3}


def test_a_removal_deletes_both_keys_of_each_member() -> None:
    request = group_requests.remove_members(KEYS, 7, ["m2", "m3"])
    assert deleted(request) == {
        b"/covey/members/m2", b"/covey/alive/m2", b"/covey/members/m3", b"/covey/alive/m3"
    }  # fmt: skip


def test_reads_of_the_latest_revision_are_not_serializable() -> None:
    reads = [group_requests.latest_transaction(KEYS)]
    reads += [op.request_range for op in group_requests.latest_change(KEYS).success]
    assert [one.key for one in reads] == [b"/covey/last", b"/covey/last", b"/covey/leader"]
    assert not any(one.serializable for one in reads)
