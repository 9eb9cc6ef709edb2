"""What a node says of its certificate when it ended: the way back of a worker would be the end of a cluster's last managers."""

import pytest

from agent.identity import NodeIdentity
from covey.clock import HOUR
from covey.states import NodeRole
from node.membership_session import certificate_expired_message

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
def test_one_that_holds_says_nothing(role: NodeRole) -> None:
    assert certificate_expired_message(identity(role), END - 1) == ""


def test_a_worker_is_to_join_again() -> None:
    said = certificate_expired_message(identity(NodeRole.WORKER), END)
    assert said.startswith("this node's certificate expired on 2023-11-14 22:13 UTC")
    assert said.endswith('use "docker swarm leave --force" here and join again')


def test_a_manager_is_not_told_to_forget_the_clusters_last_log() -> None:
    said = certificate_expired_message(identity(NodeRole.MANAGER), END)
    assert 'if other managers work, use "docker swarm leave --force"' in said
    assert (
        "If none does, the cluster is on these managers' disks alone: switch all but one off, and use \"docker swarm init --force-new"
        in said
    )


def test_a_node_without_a_certificate_has_none_that_ended() -> None:
    assert certificate_expired_message(None, END) == ""
