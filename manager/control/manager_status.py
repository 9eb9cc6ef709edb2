"""Status of this manager: whether it leads, the leader and the addresses of all managers."""

from coveypb.v1 import control_pb2
from manager.store import Store


def manager_status(store: Store) -> control_pb2.ManagerStatusResponse:
    """The status of this manager, whether it leads or not."""
    leadership = store.consensus.leadership
    response = control_pb2.ManagerStatusResponse(
        leader_raft_id=leadership.leader_id,
        leader_addr=leadership.leader_addr,
        is_leader=leadership.is_leader,
        term=leadership.term,
        applied=store.view().version,
    )
    for member in store.consensus.members():
        response.managers.add(node_id=member.node_id, addr=member.addr)
        if member.raft_id == leadership.leader_id:
            response.leader_node_id = member.node_id
    return response
