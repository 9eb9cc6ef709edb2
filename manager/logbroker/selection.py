"""Log selection: the tasks that a log request asks for, and the details added to their lines. Pure."""

from collections.abc import Container

import msgspec

from covey.display_name import display_name
from covey.errors import InvalidArgumentError
from covey.objects import Task
from covey.states import TaskState
from coveypb.v1 import control_pb2, dispatcher_pb2
from manager.store import View


class LogSelection(msgspec.Struct, frozen=True, kw_only=True):
    """The ids of the requested services and tasks, resolved once."""

    service_ids: tuple[str, ...] = ()
    task_ids: tuple[str, ...] = ()


def resolve_selection(view: View, request: control_pb2.LogsRequest) -> LogSelection:
    """Resolves the references of a request. Raises NotFoundError for an unknown service or task, InvalidArgumentError if none is named."""
    services = tuple(view.services.find(ref).id for ref in request.service_refs)
    tasks = tuple(view.tasks.find(ref).id for ref in request.task_refs)
    if not services and not tasks:
        raise InvalidArgumentError("the log request names no service and no task: name at least one")
    if not (request.options.stdout or request.options.stderr):
        raise InvalidArgumentError("Bad parameters: you must choose at least one stream")
    return LogSelection(service_ids=services, task_ids=tasks)


def selected_tasks(view: View, selection: LogSelection, kept: Container[str] = ()) -> list[Task]:
    """The tasks that may have a log: those that were started on a node, and those with a ``kept`` tail."""
    found = {task.id: task for service_id in selection.service_ids for task in view.tasks.by_service(service_id)}
    for task_id in selection.task_ids:
        task = view.tasks.get(task_id)
        if task is not None:
            found[task.id] = task
    return [
        task
        for task in found.values()
        if task.id in kept or (task.status.state >= TaskState.STARTING and _has_log(task))
    ]


def add_task_details(view: View, batch: dispatcher_pb2.LogBatch) -> dispatcher_pb2.LogBatch:
    """Adds the service, slot and node of each line's task to the batch."""
    for line in batch.lines:
        task = view.tasks.get(line.task_id)
        if task is None:
            continue
        line.service_id, line.slot, line.node_id = task.service_id, task.slot, task.node_id
        line.service_name = task.service_annotations.name
        node = view.nodes.get(task.node_id)
        line.node_hostname = display_name(node) if node is not None else ""
    return batch


def _has_log(task: Task) -> bool:
    """Whether the task may have had a container."""
    return task.status.state not in {TaskState.REJECTED, TaskState.ORPHANED}
