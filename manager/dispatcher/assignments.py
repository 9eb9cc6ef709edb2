"""Assignments of a node as a function of the store, and the assignment diff between two sets.

Invariant: a node is not sent what it need not know. Secrets and configs are sent only while a task that should run uses them. Networks
and their endpoints are sent only where the node's own tasks join them, except the ingress network: every node answers on the published
ports of all services, so every node is sent that network, its endpoints and its virtual services. Pure; called by the assignment cache.
"""

from collections.abc import Mapping

from covey.objects import Meta, Task, TaskStatus, replace
from covey.objects.assignment import Assigned, AssignmentChange, AssignmentKind
from covey.states import TaskState
from covey.task_predicates import should_run
from manager.store import View

AssignmentKey = tuple[AssignmentKind, str]
AssignmentSet = Mapping[AssignmentKey, Assigned]
_NO_META = Meta()


def difference(before: AssignmentSet, after: AssignmentSet) -> list[AssignmentChange]:
    """The assignment diff from one set to another, in a fixed order: objects that others depend on come first and are removed last."""
    changes = [
        AssignmentChange(kind=kind, id=item_id, item=item)
        for (kind, item_id), item in after.items()
        if before.get((kind, item_id)) != item
    ]
    changes += [AssignmentChange(kind=kind, id=item_id) for kind, item_id in before if (kind, item_id) not in after]
    return sorted(changes, key=change_order)


def node_items(view: View, node_id: str) -> dict[AssignmentKey, Assigned]:
    """The node's tasks, and the secrets and configs of those that should run."""
    found: dict[AssignmentKey, Assigned] = {}
    for task in view.tasks.by_node(node_id):
        if task.status.state < TaskState.ASSIGNED:
            continue
        found[AssignmentKind.TASK, task.id] = without_reported_status(task)
        if not should_run(task) or task.status.state.terminal:
            continue
        for secret_reference in task.spec.container.secrets:
            secret = view.secrets.get(secret_reference.secret_id)
            if secret is not None:
                found[AssignmentKind.SECRET, secret.id] = replace(secret, meta=_NO_META)
        for config_reference in task.spec.container.configs:
            config = view.configs.get(config_reference.config_id)
            if config is not None:
                found[AssignmentKind.CONFIG, config.id] = replace(config, meta=_NO_META)
    return found


def networks_of(view: View, node_id: str) -> list[str]:
    """The networks of the node's tasks that have not ended, and the ingress network."""
    found = {
        attachment.network_id
        for task in view.tasks.by_node(node_id)
        if task.status.state >= TaskState.ASSIGNED and not task.status.state.terminal
        for attachment in task.networks
    }
    ingress = view.networks.ingress()
    return sorted(found | ({ingress.id} if ingress is not None else set()))


def without_reported_status(task: Task) -> Task:
    """The task without the status that its agent reported, so that a report does not come back as a change."""
    state = task.status.state if task.status.state.terminal else TaskState.ASSIGNED
    return replace(task, meta=_NO_META, status=TaskStatus(state=state))


_KIND_ORDER = {
    AssignmentKind.NETWORK: 0,
    AssignmentKind.SECRET: 1,
    AssignmentKind.CONFIG: 2,
    AssignmentKind.NODE_ENDPOINT: 3,
    AssignmentKind.ENDPOINT: 4,
    AssignmentKind.VIRTUAL_SERVICE: 5,
    AssignmentKind.TASK: 6,
}


def change_order(change: AssignmentChange) -> tuple[bool, int, str]:
    """Sort key: objects that others depend on come first and are removed last."""
    is_removal = change.item is None
    rank = _KIND_ORDER[change.kind]
    return is_removal, -rank if is_removal else rank, change.id
