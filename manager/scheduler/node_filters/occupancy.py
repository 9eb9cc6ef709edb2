"""Filters on what already runs on the node: host-mode ports, and replicas of the same service. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from covey.objects import Node, Task, replace
from covey.states import Protocol
from covey.task_predicates import has_ended
from manager.scheduler.filter import Change, Filter, WaitingTask, node_name
from manager.scheduler.node_load import NodeLoad, host_ports
from manager.scheduler.request import PlacementRequest
from manager.service_ports import HostPort


class HostPortFilter(Filter):
    """No task on the node holds a host-mode port of the task."""

    name = "host ports"
    sentence = "host-mode port already in use on {}"

    def passes(self, request: PlacementRequest, _node: Node, load: NodeLoad) -> bool:
        return not any(port in load.ports for port in request.ports)

    def detail(self, request: PlacementRequest, refused: Sequence[NodeLoad]) -> str:
        taken = [port for port in request.ports if any(port in load.ports for load in refused)]
        return ", ".join(map(_port, taken))

    def changes(self, waiting: WaitingTask, refused: Sequence[NodeLoad]) -> Iterable[Change]:
        for load in refused:
            if load.node is not None:
                yield from _freed(waiting, load.node, load)


class MaxReplicasFilter(Filter):
    """Fewer than ``max_replicas`` tasks of the service are on the node."""

    name = "max replicas"
    sentence = "max replicas per node limit exceed on {}"

    def passes(self, request: PlacementRequest, _node: Node, load: NodeLoad) -> bool:
        limit = request.placement.max_replicas
        return not limit or load.active_by_service.get(request.service_id, 0) < limit

    def detail(self, request: PlacementRequest, _refused: Sequence[NodeLoad]) -> str:
        return f"at most {request.placement.max_replicas} a node"

    def changes(self, waiting: WaitingTask, refused: Sequence[NodeLoad]) -> Iterable[Change]:
        least = min(load.active_by_service.get(waiting.request.service_id, 0) for load in refused) + 1
        wider = replace(waiting.request.placement, max_replicas=least)
        yield Change(
            text=f"raise the maximum of replicas per node to {least}",
            command=f"covey service update --replicas-max-per-node {least} {waiting.service_name}",
            task=replace(waiting.task, spec=replace(waiting.task.spec, placement=wider)),
        )


def _freed(waiting: WaitingTask, node: Node, load: NodeLoad) -> Iterable[Change]:
    """The end of the one service that holds the ports, if it is another one and holds them all."""
    ports = [port for port in waiting.request.ports if port in load.ports]
    holders = [
        task
        for task in waiting.view.tasks.by_node(node.id)
        if not has_ended(task) and not set(host_ports(task)).isdisjoint(ports)
    ]
    names = sorted({_service_name(waiting, task) for task in holders})
    if len(names) == 1 and all(task.service_id != waiting.task.service_id for task in holders):
        yield Change(
            text=f"free host port {', '.join(map(_port, ports))} on node {node_name(node)}, held by service {names[0]}",
            ended=tuple([task.id for task in holders]),
        )


def _service_name(waiting: WaitingTask, task: Task) -> str:
    service = waiting.view.services.get(task.service_id)
    return service.spec.annotations.name if service is not None else task.service_annotations.name


def _port(port: HostPort) -> str:
    return f"{port[1]}/{Protocol(port[0]).name.lower()}"
