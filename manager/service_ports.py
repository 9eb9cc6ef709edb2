"""Published ports of services: which they need the ingress network for, and which of a node's ports a task may take over in place.

Invariant: a change of the published ports alone replaces no task, unless the task's node cannot give it a host-mode port. Pure; called by
the control API, the orchestrator, the allocator and the dispatcher, which must agree.
"""

from __future__ import annotations

from collections.abc import Iterable

from covey.objects import EndpointSpec, PortConfig, Service, Task
from covey.states import EndpointMode, Protocol, PublishMode
from covey.task_predicates import creation_order, has_ended
from manager.store.view import View

HostPort = tuple[Protocol, int]
PublishedPort = tuple[Protocol, int]


def endpoint_spec(service: Service) -> EndpointSpec:
    """The endpoint that the service asks for."""
    return service.spec.endpoint or EndpointSpec()


def ingress_ports(ports: Iterable[PortConfig]) -> tuple[PortConfig, ...]:
    """The ports that every node publishes."""
    return tuple([port for port in ports if port.publish_mode is PublishMode.INGRESS])


def host_ports(ports: Iterable[PortConfig]) -> tuple[HostPort, ...]:
    """The host-mode ports with a number, which one task per node can have."""
    return tuple(
        [
            (port.protocol, port.published_port)
            for port in ports
            if port.publish_mode is PublishMode.HOST and port.published_port
        ]
    )


def needs_ingress(spec: EndpointSpec) -> bool:
    """Whether the service is published on the ingress network."""
    return spec.mode is EndpointMode.VIP and bool(ingress_ports(spec.ports))


def can_publish_in_place(view: View, task: Task, spec: EndpointSpec) -> bool:
    """Whether the task can go on with another endpoint. Its node's host-mode ports must be free; of two tasks of the service on one node,
    the older gets them.
    """
    if task.endpoint is None:
        return True
    if task.endpoint.spec.mode is not spec.mode:
        return False
    wanted = set(host_ports(spec.ports)) - set(host_ports(task.endpoint.spec.ports))
    if not wanted or not task.node_id:
        return True
    return not any(
        _holds_any(other, wanted)
        or (other.service_id == task.service_id and creation_order(other) < creation_order(task))
        for other in view.tasks.by_node(task.node_id)
        if other.id != task.id and not has_ended(other)
    )


def _holds_any(task: Task, wanted: set[HostPort]) -> bool:
    return task.endpoint is not None and not wanted.isdisjoint(host_ports(task.endpoint.ports))
