"""SessionState message: what a session tells its node about the cluster and itself. Pure."""

from covey import codec, trust
from covey.clock import MILLISECOND, MINUTE, SECOND
from covey.objects import Cluster, Meta, Node, NodeStatus, TLSInfo, replace
from covey.states import NodeRole
from coveypb.v1 import dispatcher_pb2
from manager.store import View

_SPREAD_PER_NODE_NS = 20 * MILLISECOND
_MIN_SPREAD_NS = SECOND // 2
_MAX_SPREAD_NS = MINUTE


def renewal_spread_ns(nodes: int) -> int:
    """Period over which nodes spread their certificate renewals, so that they do not overload the leader. It changes only when the number
    of nodes doubles, because every change is sent to all nodes.
    """
    rounded = 1 << max(nodes - 1, 0).bit_length()
    return max(_MIN_SPREAD_NS, min(rounded * _SPREAD_PER_NODE_NS, _MAX_SPREAD_NS))


def session_state(view: View, cluster: Cluster, node: Node, session_id: str) -> dispatcher_pb2.SessionState:
    """The message for one node. It leaves out what the node itself reported, so that a report alone does not resend it."""
    expected = trust.expected_tls_info(cluster.root_ca)
    managers_sign = bool((cluster.root_ca.rotation or cluster.root_ca).key)
    state = dispatcher_pb2.SessionState(
        session_id=session_id,
        heartbeat_period_ns=cluster.spec.heartbeat_period_ns,
        root_certificates=expected.trust_root,
        cluster_id=cluster.id,
        issuer_subject=expected.issuer_subject,
        issuer_public_key=expected.issuer_public_key,
        certificate_life_ns=cluster.spec.ca.node_cert_expiry_ns if managers_sign else 0,
        renewal_spread_ns=renewal_spread_ns(len(view.nodes)),
        data_path_port=cluster.data_path_port,
    )
    description = replace(node.description, tls=TLSInfo())
    status = NodeStatus(addr=node.status.addr)
    codec.write(
        replace(node, meta=Meta(), description=description, status=status, manager_status=None),
        state.node,
    )
    for manager in view.nodes.by_role(NodeRole.MANAGER):
        if manager.manager_status is not None and manager.manager_status.addr:
            state.managers.add(node_id=manager.id, addr=manager.manager_status.addr)
    return state
