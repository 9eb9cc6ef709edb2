"""Dry run of a service: where its tasks would be after a change, and which would wait. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import count

from covey.explanation import NodeTasks, ServiceDryRun
from covey.objects import Service, Task, replace
from covey.states import TaskState
from covey.task_predicates import should_run
from manager.explain.rehearsal import rehearse
from manager.explain.service import explain_service
from manager.orchestrator.slots import ServiceContext
from manager.scheduler.filter import node_name
from manager.scheduler.spread import ImageNodes, no_image_nodes
from manager.store.hypothetical import with_changes
from manager.store.view import View

_HYPOTHETICAL = "hypothetical-task-"


def rehearse_change(
    view: View, service: Service, now_ns: int, image_nodes: ImageNodes = no_image_nodes
) -> ServiceDryRun:
    """What it leads to that the service is stored as given."""
    numbers = count(1)

    def ids() -> str:
        return f"{_HYPOTHETICAL}{next(numbers):06d}"

    before = view.services.get(service.id)
    rehearsed = rehearse(with_changes(view, (service,), now_ns), service.id, now_ns, ids, image_nodes)
    after = rehearsed.view
    explanation = explain_service(after, after.services.get(service.id) or service, now_ns)
    notes = [*explanation.notes, *_displaced(view, after, service.id)]
    if not rehearsed.settled:
        notes.append("the rehearsal ended before all of its tasks had started")
    found = after.services.get(service.id) or service
    return ServiceDryRun(
        before=before.spec if before is not None else None,
        after=service.spec,
        nodes=tuple(_node_tasks(view, after, ServiceContext(after, found, now_ns, ids))),
        explanation=replace(explanation, notes=tuple(notes)),
    )


def _node_tasks(before: View, after: View, context: ServiceContext) -> list[NodeTasks]:
    """The nodes that would have tasks of the service, by hostname."""
    counts: dict[str, Counter[str]] = {}
    for task in after.tasks.by_service(context.service.id):
        if _is_placed(task):
            counts.setdefault(task.node_id, Counter())[_standing(before, context, task)] += 1
    names = {key: node_name(node) for key in counts if (node := after.nodes.get(key)) is not None}
    return [
        NodeTasks(
            node_id=key, hostname=name, added=counts[key]["added"], kept=counts[key]["kept"], old=counts[key]["old"]
        )
        for key, name in sorted(names.items(), key=lambda item: (item[1], item[0]))
    ]


def _displaced(before: View, after: View, service_id: str) -> Iterable[str]:
    """The tasks of other services that would end for the service."""
    ended: Counter[str] = Counter()
    for task in before.tasks:
        now = after.tasks.get(task.id)
        if task.service_id != service_id and should_run(task) and (now is None or not should_run(now)):
            ended[task.service_annotations.name] += 1
    for name, number in sorted(ended.items()):
        yield f"{number} task{'' if number == 1 else 's'} of service {name} would end for it"


def _is_placed(task: Task) -> bool:
    return should_run(task) and bool(task.node_id) and TaskState.ASSIGNED <= task.status.state <= TaskState.RUNNING


def _standing(before: View, context: ServiceContext, task: Task) -> str:
    if before.tasks.get(task.id) is None:
        return "added"
    return "kept" if context.up_to_date(task) else "old"
