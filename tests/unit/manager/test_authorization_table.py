"""Authorization table: every gRPC method and who may call it."""

import pytest
from google.protobuf.descriptor import FileDescriptor

from covey.errors import PermissionDeniedError, UnauthenticatedError
from coveypb.v1 import ca_pb2, control_pb2, dispatcher_pb2, engine_pb2, raft_pb2
from manager.authorize import ALLOWED, authorize
from manager.caller import Caller, Peer, peer_of_subject

FILES: tuple[FileDescriptor, ...] = tuple(
    m.DESCRIPTOR for m in (ca_pb2, control_pb2, dispatcher_pb2, engine_pb2, raft_pb2)
)
METHODS = sorted(
    f"/{service.full_name}/{method.name}"
    for file in FILES
    for service in file.services_by_name.values()
    for method in service.methods
)
BACKUP = "/coveypb.v1.Control/Backup"
OF_THE_DAEMON = {BACKUP, "/coveypb.v1.Control/CallTask"}
BETWEEN_MANAGERS = {"/coveypb.v1.Control/OpenTaskCall"}


def believed(peer: Peer) -> Caller:
    return peer.caller


def test_every_method_has_a_line_in_the_table_and_every_line_a_method() -> None:
    assert sorted(ALLOWED) == METHODS


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_may_call_only_methods_for_nodes(method: str) -> None:
    service = method.split("/")[1].removeprefix("coveypb.v1.")
    allowed = ALLOWED[method]
    assert (Caller.WORKER in allowed) == (service in {"Dispatcher", "CertificateRenewal"})
    assert (Caller.ANONYMOUS in allowed) == (service == "CertificateAuthority")
    assert (Caller.LOCAL in allowed) == (
        service in {"Control", "CertificateRenewal"} and method not in BETWEEN_MANAGERS
    )
    assert (Caller.MANAGER in allowed) == (method not in OF_THE_DAEMON)


def test_only_the_local_daemon_may_call_backup() -> None:
    """1. A manager is demoted, its certificate says manager for months. 2. A follower answers for itself, and believes certificates."""
    peer = Peer(caller=Caller.MANAGER, node_id="n1", cluster_id="c1")
    with pytest.raises(
        PermissionDeniedError, match="a manager may not call Control.Backup; the daemon of this host may"
    ):
        authorize(BACKUP, peer, "c1", standing=believed)
    authorize(BACKUP, Peer(caller=Caller.LOCAL), "c1", standing=believed)


def test_a_refusal_names_caller_method_and_who_may() -> None:
    worker = Peer(caller=Caller.WORKER, node_id="n1", cluster_id="c1")
    with pytest.raises(
        PermissionDeniedError, match="a worker may not call Control.ListNodes; a manager, the daemon of this host may"
    ):
        authorize("/coveypb.v1.Control/ListNodes", worker, "c1", standing=believed)
    with pytest.raises(PermissionDeniedError, match="no caller may"):
        authorize("/coveypb.v1.Control/Unheard", worker, "c1", standing=believed)


def test_another_clusters_node_and_a_removed_one_are_refused() -> None:
    peer = Peer(caller=Caller.MANAGER, node_id="n1", cluster_id="c1")
    authorize("/coveypb.v1.Raft/Join", peer, "c1", standing=believed)
    with pytest.raises(UnauthenticatedError, match="cluster c1, but this is cluster c2"):
        authorize("/coveypb.v1.Raft/Join", peer, "c2", standing=believed)
    with pytest.raises(PermissionDeniedError, match="removed from the cluster"):
        authorize("/coveypb.v1.Raft/Join", peer, "c1", standing=lambda _: None)


@pytest.mark.parametrize("method", METHODS)
def test_a_demoted_manager_is_a_worker_whatever_its_certificate_says(method: str) -> None:
    """1. A manager is demoted. 2. Its certificate says manager for three months more. 3. It could read the cluster and join again."""
    peer = Peer(caller=Caller.MANAGER, node_id="n1", cluster_id="c1")
    if Caller.WORKER in ALLOWED[method]:
        authorize(method, peer, "c1", standing=lambda _: Caller.WORKER)
    else:
        with pytest.raises(
            PermissionDeniedError, match="node n1 is a worker now and may not call|a manager may not call"
        ):
            authorize(method, peer, "c1", standing=lambda _: Caller.WORKER)


def test_a_promoted_node_is_a_worker_until_it_has_a_manager_certificate() -> None:
    peer = Peer(caller=Caller.WORKER, node_id="n1", cluster_id="c1")
    with pytest.raises(PermissionDeniedError, match="a worker may not call Raft.Join"):
        authorize("/coveypb.v1.Raft/Join", peer, "c1", standing=lambda _: Caller.MANAGER)


@pytest.mark.parametrize("subject", ["", "CN=x", "CN=x,OU=admin,O=c", "OU=covey-worker,O=c", "nonsense"])
def test_a_certificate_subject_of_no_node_is_refused(subject: str) -> None:
    with pytest.raises(UnauthenticatedError):
        peer_of_subject(subject)
