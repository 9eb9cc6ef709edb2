"""What a session is told about the cluster and its own node. Pure."""

from covey import codec
from covey.objects import Cluster, Meta, Node, NodeStatus, replace
from covey.states import NodeRole
from coveypb.v1 import dispatcher_pb2
from manager.store import View


def session_state(view: View, cluster: Cluster, node: Node, session_id: str) -> dispatcher_pb2.SessionState:
    """The node without what it reported itself, so that it is sent again only when it says something new."""
    state = dispatcher_pb2.SessionState(
        session_id=session_id,
        heartbeat_period_ns=cluster.spec.heartbeat_period_ns,
        root_certificates=cluster.root_ca.cert,
        cluster_id=cluster.id,
    )
    codec.write(replace(node, meta=Meta(), status=NodeStatus(addr=node.status.addr), manager_status=None), state.node)
    for manager in view.nodes.by_role(NodeRole.MANAGER):
        if manager.manager_status is not None and manager.manager_status.addr:
            state.managers.add(node_id=manager.id, addr=manager.manager_status.addr)
    return state
