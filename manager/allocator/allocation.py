"""Allocation pass: decides what the allocator assigns now, from a view and the allocation index.

Invariant: an object gets everything it needs or nothing. If something cannot be allocated, the waiting tasks say why. Called by
``planner``.
"""

from __future__ import annotations

from collections.abc import Iterable

from covey.objects import Endpoint, NetworkAttachment, NetworkAttachmentConfig, Service, Task, replace
from covey.states import TaskState
from covey.task_predicates import has_ended, is_attachment, should_run, waits_for_dependencies
from manager.allocator import published_ports
from manager.allocator.addresses import AddressSource, AllocationBlocked
from manager.allocator.index import AllocationIndex
from manager.allocator.networks import plan_networks, waits_for_nodes
from manager.allocator.node_addresses import plan_node
from manager.allocator.service_endpoints import ingress_network, vip_networks, virtual_ips
from manager.loop import Plan, Step
from manager.service_ports import (
    HostPort,
    PublishedPort,
    can_publish_in_place,
    endpoint_spec,
    host_ports,
    needs_ingress,
)
from manager.store.view import View

NODES = ("nodes", "")
"""What the ingress network of a new cluster waits for."""
HOST_PORTS = ("ports", "")
"""What a service waits for whose tasks cannot have its host-mode ports on their nodes."""


class Allocation:
    """One allocation pass. ``blocked`` says what each object that got nothing waits for, by kind and id."""

    def __init__(self, view: View, index: AllocationIndex, now_ns: int) -> None:
        self._view = view
        self._index = index
        self._now_ns = now_ns
        self._source = AddressSource(view, index)
        self._assigned_ports: dict[str, set[PublishedPort]] = {}
        self._taken_over: set[tuple[str, HostPort]] = set()
        self._steps: list[Step] = []
        self.blocked: dict[tuple[str, str], tuple[str, str]] = {}

    def plan(
        self, networks: Iterable[str], services: Iterable[str], tasks: Iterable[str], nodes: Iterable[str]
    ) -> Plan:
        """Allocates for the objects with these ids, as far as they need something."""
        found = [item for key in networks if (item := self._view.networks.get(key))]
        steps, without_subnet = plan_networks(self._view, self._index, found)
        self._steps += steps
        self._source.blocked_networks.update(without_subnet)
        self.blocked |= {("network", key): ("networks", "") for key in without_subnet}
        self.blocked |= {("network", item.id): NODES for item in found if waits_for_nodes(self._view, item)}
        for key in services:
            service = self._view.services.get(key)
            if service is not None:
                self._plan_service(service)
        for key in nodes:
            self._plan_node(key)
        for key in tasks:
            task = self._view.tasks.get(key)
            if task is not None and task.status.state is TaskState.NEW and should_run(task):
                self._plan_task(task)
        return Plan(tuple(self._steps))

    # --- services ---

    def _plan_service(self, service: Service) -> None:
        try:
            endpoint = self._endpoint(service)
        except AllocationBlocked as blocked:
            self.blocked["service", service.id] = blocked.waits_for
            return
        if endpoint != service.endpoint:
            self._steps.append(Step(updates=(replace(service, endpoint=endpoint),)))
        elif self._index.endpoints_told.get(service.id) != endpoint:
            self._tell_tasks(service, endpoint)

    def _endpoint(self, service: Service) -> Endpoint:
        self._require_own_ports(service)
        taken = {port for key, held in self._index.ports.items() if key != service.id for port in held}
        taken |= {port for held in self._assigned_ports.values() for port in held}
        ports = published_ports.assign_ports(service, taken)
        if ports is None:
            raise AllocationBlocked("no published port between 30000 and 32767 is free", ("services", ""))
        addresses = virtual_ips(self._view, service, self._source)
        self._index.owners.set(service.id, ports)  # the next sync corrects it if the step is refused
        self._assigned_ports[service.id] = {(port.protocol, port.published_port) for port in ports}
        return Endpoint(spec=endpoint_spec(service), ports=ports, virtual_ips=addresses)

    def _require_own_ports(self, service: Service) -> None:
        conflict = self._index.owners.conflict(service)
        if conflict is None:
            return
        port, owner_id = conflict
        owner = self._view.services.get(owner_id)
        name = owner.spec.annotations.name if owner is not None else owner_id
        raise AllocationBlocked(f"port '{port}' is already in use by service '{name}' ({owner_id})", ("services", ""))

    def _tell_tasks(self, service: Service, endpoint: Endpoint) -> None:
        """Gives the service's tasks that can go on with it the new endpoint, and an address on the ingress network or none."""
        is_complete = True
        for task in self._view.tasks.by_service(service.id):
            if task.endpoint is None or task.endpoint == endpoint or has_ended(task) or not should_run(task):
                continue
            is_complete = False
            try:
                self._tell_task(task, endpoint)
            except AllocationBlocked as blocked:
                self.blocked["service", service.id] = blocked.waits_for
                return
        if is_complete:
            self._index.endpoints_told[service.id] = endpoint

    def _tell_task(self, task: Task, endpoint: Endpoint) -> None:
        ports = {(task.node_id, port) for port in host_ports(endpoint.spec.ports)} if task.node_id else set()
        if not can_publish_in_place(self._view, task, endpoint.spec) or not ports.isdisjoint(self._taken_over):
            self.blocked["service", task.service_id] = HOST_PORTS  # meanwhile the service planner replaces the task
            return
        own = {config.target for config in task.spec.networks}
        kept = tuple([item for item in task.networks if item.network_id in own])
        changed = replace(task, endpoint=endpoint, networks=(*kept, *self._ingress_attachments(task, endpoint)))
        self._taken_over |= ports
        self._steps.append(Step(updates=(changed,)))

    def _ingress_attachments(self, task: Task, endpoint: Endpoint) -> tuple[NetworkAttachment, ...]:
        """The task's attachment to the ingress network; it keeps the one that it has."""
        if not needs_ingress(endpoint.spec):
            return ()
        network = ingress_network(self._view)
        before = [item for item in task.networks if item.network_id == network.id]
        return tuple(before) or (
            self._source.attachment(NetworkAttachmentConfig(target=network.id), f"task {task.id}"),
        )

    # --- nodes ---

    def _plan_node(self, node_id: str) -> None:
        try:
            step = plan_node(self._view, self._source, node_id, self._now_ns)
        except AllocationBlocked as blocked:
            self.blocked["node", node_id] = blocked.waits_for
            return
        if step is not None:
            self._steps.append(step)

    # --- tasks ---

    def _plan_task(self, task: Task) -> None:
        try:
            step = self._task_with_addresses(task)
        except AllocationBlocked as blocked:
            self.blocked["task", task.id] = blocked.waits_for
            if task.status.error != blocked.reason:
                status = replace(task.status, error=blocked.reason, timestamp_ns=self._now_ns)
                self._steps.append(Step(updates=(replace(task, status=status),)))
            return
        self._steps.append(step)

    def _task_with_addresses(self, task: Task) -> Step:
        if is_attachment(task):
            return self._attachment_with_addresses(task)
        service = self._view.services.get(task.service_id)
        if service is None:
            raise AllocationBlocked("its service is gone", ("service", task.service_id))
        endpoint = self._require_allocated(service)
        networks = tuple([self._source.network(config.target) for config in task.spec.networks])
        holder = f"service {service.id}"
        attachments = tuple([self._source.attachment(config, holder, task.slot) for config in task.spec.networks])
        status = replace(
            task.status,
            state=TaskState.PENDING,
            timestamp_ns=self._now_ns,
            message="pending task scheduling",
            error="",
        )
        if waits_for_dependencies(task):
            status = replace(status, message=task.status.message, error=task.status.error)
        attachments += self._ingress_attachments(task, endpoint)
        changed = replace(task, status=status, networks=attachments, endpoint=endpoint)
        return Step(updates=(changed,), preconditions=networks)

    def _attachment_with_addresses(self, task: Task) -> Step:
        """A network attachment is assigned at once: its node is where its container is."""
        networks = tuple([self._source.network(config.target) for config in task.spec.networks])
        holder = f"task {task.id}"
        attachments = tuple([self._source.attachment(config, holder) for config in task.spec.networks])
        status = replace(
            task.status,
            state=TaskState.ASSIGNED,
            timestamp_ns=self._now_ns,
            message="allocated an address on the network",
            error="",
        )
        return Step(updates=(replace(task, status=status, networks=attachments),), preconditions=networks)

    def _require_allocated(self, service: Service) -> Endpoint:
        """The service's endpoint, once it is the one that its spec asks for."""
        endpoint, targets = service.endpoint, vip_networks(self._view, service)
        if (
            endpoint is not None
            and endpoint.spec == endpoint_spec(service)
            and {vip.network_id for vip in endpoint.virtual_ips} == set(targets)
        ):
            return endpoint
        self._require_own_ports(service)
        for target in targets:
            self._source.require_free(target)  # raises with the reason if the network is the cause
        raise AllocationBlocked("", ("service", service.id))
