"""Allocation pass: decides what the allocator assigns now, from a view and the allocation index.

Invariant: an object gets everything it needs or nothing. If something cannot be allocated, the waiting tasks say why. Called by
``planner``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from covey.objects import (
    Cluster,
    Endpoint,
    EndpointSpec,
    Network,
    NetworkAttachment,
    NetworkAttachmentConfig,
    Service,
    Task,
    VirtualIP,
    replace,
)
from covey.states import EndpointMode, TaskState
from manager.allocator import published_ports, subnets
from manager.allocator.index import AllocationIndex
from manager.loop import Plan, Step
from manager.orchestrator.slots import should_run
from manager.store.view import View

FIRST_VNI, LAST_VNI = 4096, (1 << 24) - 1


class AllocationBlocked(Exception):  # noqa: N818 - it is an outcome, not a fault
    """An object must wait. ``on`` is the kind and id whose change may help."""

    def __init__(self, reason: str, waits_for: tuple[str, str]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.waits_for = waits_for


class Allocation:
    """One pass. ``blocked`` says what each object that got nothing waits for, by kind and id."""

    def __init__(self, view: View, index: AllocationIndex, now_ns: int) -> None:
        self._view = view
        self._index = index
        self._now_ns = now_ns
        self._free_addresses: dict[str, Iterator[int]] = {}
        self._assigned_ports: dict[str, set[published_ports.PublishedPort]] = {}
        self._steps: list[Step] = []
        self.blocked: dict[tuple[str, str], tuple[str, str]] = {}

    def plan(self, networks: Iterable[str], services: Iterable[str], tasks: Iterable[str]) -> Plan:
        self._plan_networks([item for key in networks if (item := self._view.networks.get(key))])
        for key in services:
            service = self._view.services.get(key)
            if service is not None:
                self._plan_service(service)
        for key in tasks:
            task = self._view.tasks.get(key)
            if task is not None and task.status.state is TaskState.NEW and should_run(task):
                self._plan_task(task)
        return Plan(tuple(self._steps))

    def _plan_networks(self, networks: list[Network]) -> None:
        lacking = [network for network in networks if not network.vni]
        if not lacking:
            return
        cluster = next(iter(self._view.clusters), None) or Cluster(id="default")
        taken = subnets.all_subnets(self._view)
        vnis = _free_vnis(set(self._index.vnis.values()))
        for network in lacking:
            ipam = subnets.complete_ipam(network.spec, taken, cluster)
            vni = next(vnis, None)
            if ipam is None or vni is None:
                self.blocked["network", network.id] = ("networks", "")
                continue
            taken.append(ipam.configs[0].subnet)
            self._steps.append(Step(updates=(replace(network, ipam=ipam, vni=vni),)))

    def _plan_service(self, service: Service) -> None:
        try:
            endpoint = self._endpoint(service)
        except AllocationBlocked as blocked:
            self.blocked["service", service.id] = blocked.waits_for
            return
        if endpoint != service.endpoint:
            self._steps.append(Step(updates=(replace(service, endpoint=endpoint),)))

    def _endpoint(self, service: Service) -> Endpoint:
        spec = service.spec.endpoint or EndpointSpec()
        taken = {port for key, held in self._index.ports.items() if key != service.id for port in held}
        taken |= {port for held in self._assigned_ports.values() for port in held}
        given = published_ports.assign_ports(service, taken)
        if given is None:
            raise AllocationBlocked("no published port between 30000 and 32767 is free", ("services", ""))
        addresses = self._virtual_ips(service) if spec.mode is EndpointMode.VIP else ()
        self._assigned_ports[service.id] = {(port.protocol, port.published_port) for port in given}
        return Endpoint(spec=spec, ports=given, virtual_ips=addresses)

    def _virtual_ips(self, service: Service) -> tuple[VirtualIP, ...]:
        before = {vip.network_id: vip for vip in (service.endpoint.virtual_ips if service.endpoint else ())}
        targets = dict.fromkeys(attachment.target for attachment in service.spec.task.networks)
        return tuple(
            [
                before.get(target) or VirtualIP(network_id=target, address=self._take_address(target))
                for target in targets
            ]
        )

    def _plan_task(self, task: Task) -> None:
        try:
            given = self._task_with_addresses(task)
        except AllocationBlocked as blocked:
            self.blocked["task", task.id] = blocked.waits_for
            if task.status.error != blocked.reason:
                status = replace(task.status, error=blocked.reason, timestamp_ns=self._now_ns)
                self._steps.append(Step(updates=(replace(task, status=status),)))
            return
        self._steps.append(given)

    def _task_with_addresses(self, task: Task) -> Step:
        service = self._view.services.get(task.service_id)
        if service is None:
            raise AllocationBlocked("its service is gone", ("service", task.service_id))
        self._require_allocated(service)
        networks = tuple([self._network(config.target) for config in task.spec.networks])
        attachments = tuple([self._attachment(config) for config in task.spec.networks])
        status = replace(
            task.status,
            state=TaskState.PENDING,
            timestamp_ns=self._now_ns,
            message="pending task scheduling",
            error="",
        )
        changed = replace(task, status=status, networks=attachments, endpoint=service.endpoint)
        return Step(updates=(changed,), preconditions=networks)

    def _require_allocated(self, service: Service) -> None:
        endpoint, spec = service.endpoint, service.spec.endpoint or EndpointSpec()
        targets: set[str] = set()
        if spec.mode is EndpointMode.VIP:
            targets = {attachment.target for attachment in service.spec.task.networks}
        if (
            endpoint is not None
            and endpoint.spec == spec
            and {vip.network_id for vip in endpoint.virtual_ips} == targets
        ):
            return
        for target in targets:
            network = self._network(target)  # says why, when the cause is the network
            if next(self._index.pools[target].free_addresses(), None) is None:
                raise AllocationBlocked(_exhausted_message(network), ("network", target))
        raise AllocationBlocked("", ("service", service.id))

    def _attachment(self, config: NetworkAttachmentConfig) -> NetworkAttachment:
        return NetworkAttachment(
            network_id=config.target, address=self._take_address(config.target), aliases=config.aliases
        )

    def _network(self, network_id: str) -> Network:
        network = self._view.networks.get(network_id)
        if network is None:
            raise AllocationBlocked(f"network {network_id} not found", ("network", network_id))
        if network_id not in self._index.pools:
            lasting = ("network", network_id) in self.blocked or not network.vni
            name = network.spec.annotations.name
            why = f"network {name} has no subnet: the default address pool may be used up" if lasting else ""
            raise AllocationBlocked(why, ("network", network_id))
        return network

    def _take_address(self, network_id: str) -> str:
        network = self._network(network_id)
        pool = self._index.pools[network_id]
        if network_id not in self._free_addresses:
            self._free_addresses[network_id] = pool.free_addresses()
        address = next(self._free_addresses[network_id], None)
        if address is None:
            raise AllocationBlocked(_exhausted_message(network), ("network", network_id))
        return pool.as_cidr(address)


def _exhausted_message(network: Network) -> str:
    config = network.ipam.configs[0]
    within = config.ip_range or config.subnet
    return f"could not find an available IP in network {network.spec.annotations.name}: {within} is used up"


def _free_vnis(used: set[int]) -> Iterator[int]:
    """Above the highest in use first, so that one just freed is not used again soon."""
    top = max(used, default=FIRST_VNI - 1)
    yield from range(top + 1, LAST_VNI + 1)
    for vni in range(FIRST_VNI, top):
        if vni not in used:
            yield vni
