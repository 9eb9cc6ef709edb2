"""Filter: the node meets all placement constraints. Pure."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence

from covey.objects import Node, Placement, Task, replace
from manager.constraints import Constraint, all_match, parse_constraint
from manager.scheduler.filter import Change, Filter, WaitingTask, node_name
from manager.scheduler.node_load import NodeLoad
from manager.scheduler.request import PlacementRequest

_LABEL = "node.labels."


class ConstraintFilter(Filter):
    name = "constraints"
    sentence = "scheduling constraints not satisfied on {}"

    def passes(self, request: PlacementRequest, node: Node, _load: NodeLoad) -> bool:
        return all_match(request.constraints, node)

    def detail(self, request: PlacementRequest, refused: Sequence[NodeLoad]) -> str:
        unmet = Counter(item for load in refused for item in _unmet(request.constraints, load.node))
        if len(unmet) == 1:
            return str(next(iter(unmet)))
        return ", ".join(f"{item} on {unmet[item]}" for item in dict.fromkeys(request.constraints) if item in unmet)

    def changes(self, waiting: WaitingTask, refused: Sequence[NodeLoad]) -> Iterable[Change]:
        for load in refused:
            if load.node is not None:
                yield from _relabelled(load.node, _unmet(waiting.request.constraints, load.node))
        for text in dict.fromkeys(waiting.request.placement.constraints):
            yield Change(
                text=f"remove the constraint {text}",
                command=f"covey service update --constraint-rm {shlex.quote(text)} {waiting.service_name}",
                task=_without(waiting.task, waiting.request.placement, text),
            )


def _unmet(constraints: Iterable[Constraint], node: Node | None) -> list[Constraint]:
    return [item for item in dict.fromkeys(constraints) if node is not None and not item.matches(node)]


def _relabelled(node: Node, unmet: Sequence[Constraint]) -> Iterable[Change]:
    """The change of the node's labels that meets the constraints, if labels are all that they ask for."""
    if not all(item.key.casefold().startswith(_LABEL) for item in unmet):
        return
    labels, words, flags = dict(node.spec.annotations.labels), [], []
    for item in unmet:
        label = item.key[len(_LABEL) :]
        if item.equal:
            labels[label] = item.value
            words.append(f"add the label {label}={item.value} to")
            flags.append(f"--label-add {shlex.quote(f'{label}={item.value}')}")
        else:
            labels.pop(label, None)
            words.append(f"remove the label {label} from")
            flags.append(f"--label-rm {shlex.quote(label)}")
    annotations = replace(node.spec.annotations, labels=labels)
    name = node_name(node)
    yield Change(
        text=f"{' and '.join(words)} node {name}",
        command=f"covey node update {' '.join(flags)} {name}",
        node=replace(node, spec=replace(node.spec, annotations=annotations)),
    )


def _without(task: Task, placement: Placement, text: str) -> Task:
    gone = parse_constraint(text)
    kept = tuple([item for item in placement.constraints if parse_constraint(item) != gone])
    return replace(task, spec=replace(task.spec, placement=replace(placement, constraints=kept)))
