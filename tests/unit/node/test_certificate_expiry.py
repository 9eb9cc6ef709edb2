"""Error message of an expired certificate. The remedy for a worker would destroy the cluster on its last managers."""

import pytest

from agent.identity import NodeIdentity
from covey.clock import HOUR
from covey.states import NodeRole
from node.certificate import certificate_expired_message

END = 1_700_000_000 * 10**9


def identity(role: NodeRole) -> NodeIdentity:
    return NodeIdentity(
        node_id="me",
        role=role,
        cluster_id="c",
        certificate=b"",
        key=b"",
        root=b"",
        not_before_ns=END - HOUR,
        not_after_ns=END,
    )


@pytest.mark.parametrize("role", NodeRole)
def test_a_valid_certificate_is_no_error(role: NodeRole) -> None:
    assert certificate_expired_message(identity(role), END - 1) == ""


def test_a_worker_is_told_to_join_again() -> None:
    message = certificate_expired_message(identity(NodeRole.WORKER), END)
    assert message.startswith("this node's certificate expired on 2023-11-14 22:13 UTC")
    assert message.endswith('use "swarm leave --force" here and join again')


def test_a_manager_is_not_told_to_delete_the_clusters_last_log() -> None:
    message = certificate_expired_message(identity(NodeRole.MANAGER), END)
    assert 'if other managers work, use "swarm leave --force"' in message
    assert (
        "If none does, the cluster's state exists only on these managers' disks: stop all managers but one, and use "
        '"swarm init --force-new-cluster"' in message
    )


def test_a_node_without_a_certificate_is_no_error() -> None:
    assert certificate_expired_message(None, END) == ""
