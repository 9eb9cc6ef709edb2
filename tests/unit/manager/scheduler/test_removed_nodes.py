"""The node load index when a node is removed before its tasks."""

from covey.states import TaskState
from manager.scheduler.node_load import NodeLoadIndex
from tests.support.planning import node, service, task, view_of


def test_a_removed_node_is_remembered_until_its_last_task_is_gone() -> None:
    """1. A task is meant to end on a host that died. 2. The node is removed by force. 3. The task follows: it is still counted on that node."""
    web = service()
    dying = task(web, 1, node_id="n1", desired_state=TaskState.SHUTDOWN, state=TaskState.RUNNING)
    index = NodeLoadIndex.from_view(view_of(node("n1"), web, dying))
    gone = view_of(web, dying)
    index.sync_nodes(gone, ["n1"])
    assert index.existing_nodes() == []
    index.sync_tasks(view_of(web), [dying.id])
    assert index.loads == {}
