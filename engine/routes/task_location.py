"""Location of a container that this host does not have: the node that runs it as the container of a service's task."""

import asyncio

from covey.errors import CoveyError, NotFoundError
from covey.objects import Task
from covey.placeholders import task_name
from engine.request_context import RequestContext

LOOK_UP_SECONDS = 2.0


async def with_location(error: NotFoundError, context: RequestContext) -> NotFoundError:
    """The error of a missing container, which on a manager also names the node that has it."""
    if not context.services.control_available:
        return error
    cluster, ref = context.services.cluster, context.ref.removeprefix("/")
    try:
        async with asyncio.timeout(LOOK_UP_SECONDS):
            task = next((task for task in await cluster.tasks() if _is_container_of(task, ref)), None)
            if task is None or not task.node_id:
                return error
            node = await cluster.node(task.node_id)
    except (CoveyError, TimeoutError):
        return error  # the answer is about the container, not about the cluster
    name = node.description.hostname if node.description else node.id
    return NotFoundError(
        f"{error.message}: it belongs to a task on node {name}; run the command against that node, or use covey exec and covey cp with "
        f"the task {task.id}"
    )


def _is_container_of(task: Task, ref: str) -> bool:
    """Whether the name or the beginning of an id is that of the task's container."""
    container = task.status.container
    by_id = container is not None and bool(container.container_id) and container.container_id.startswith(ref)
    return bool(ref) and (by_id or ref == task_name(task))
