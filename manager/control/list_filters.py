"""Filters of list requests. Pure.

Invariant: a task that ended and is only to be deleted is not listed. ``docker stack rm --detach=false`` never returns if it sees an ended
task once and finds it gone in its next list. An empty field matches everything, several values of a field match any of them, and all
fields must match.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from covey.display_name import display_name
from covey.objects import Node, Object, Task
from covey.states import TaskState
from covey.task_predicates import has_ended, is_attachment
from manager.store import View

O = TypeVar("O", bound=Object)  # noqa: E741


def filter_objects(objects: Iterable[O], request: Any) -> list[O]:
    """The objects that match all filters. Filters that do not apply to their kind are ignored."""
    return [item for item in objects if matches(item, request)]


def list_tasks(view: View, request: Any) -> list[Task]:
    """The tasks that match all filters."""
    if request.service_ids:
        candidates = [task for service_id in request.service_ids for task in view.tasks.by_service(service_id)]
    elif request.node_ids:
        candidates = [task for node_id in request.node_ids for task in view.tasks.by_node(node_id)]
    else:
        candidates = list(view.tasks)
    shown = {task.id: task for task in candidates if not _awaits_deletion(view, task)}
    return filter_objects(shown.values(), request)


def _awaits_deletion(view: View, task: Task) -> bool:
    """Whether the task ended and the reaper deletes it next, because its service or its slot was removed."""
    removed = task.desired_state >= TaskState.REMOVE or view.services.get(task.service_id) is None
    return removed and has_ended(task)


def matches(item: Object, request: Any) -> bool:
    name = display_name(item)
    if request.ids and item.id not in request.ids:
        return False
    if request.id_prefixes and not item.id.startswith(tuple(request.id_prefixes)):
        return False
    if request.names and name not in request.names:
        return False
    if request.name_prefixes and not name.startswith(tuple(request.name_prefixes)):
        return False
    if request.labels and not _match_labels(_labels_of(item), request.labels):
        return False
    if isinstance(item, Task):
        return _task_matches(item, request)
    if isinstance(item, Node):
        return _node_matches(item, request)
    return True


def _task_matches(task: Task, request: Any) -> bool:
    if is_attachment(task) and not request.with_attachments:  # Docker lists no network attachments
        return False
    if request.service_ids and task.service_id not in request.service_ids:
        return False
    if request.node_ids and task.node_id not in request.node_ids:
        return False
    return not request.desired_states or int(task.desired_state) in request.desired_states


def _node_matches(node: Node, request: Any) -> bool:
    if request.roles and int(node.role) not in request.roles:
        return False
    return not request.node_labels or _match_labels(node.spec.annotations.labels, request.node_labels)


def _labels_of(item: Object) -> dict[str, str]:
    if isinstance(item, Task):
        return {**item.service_annotations.labels, **item.annotations.labels, **item.spec.container.labels}
    if isinstance(item, Node):
        return item.description.engine.labels
    return item.spec.annotations.labels


def _match_labels(labels: dict[str, str], filters: Iterable[str]) -> bool:
    """Whether all of the filters match, as in Docker: ``key=value``, or ``key`` for any value."""
    for text in filters:
        key, has_value, value = text.partition("=")
        if key not in labels or (has_value and labels[key] != value):
            return False
    return True
