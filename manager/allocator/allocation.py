"""Allocation pass: decides what the allocator assigns now, from a view and the allocation index.

Invariant: an object gets everything it needs or nothing. If something cannot be allocated, the waiting tasks say why. Called by
``planner``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from covey.network_options import requested_vni
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
from covey.task_predicates import is_attachment, should_run
from manager.allocator import published_ports, subnets
from manager.allocator.address_pool import parse_address
from manager.allocator.index import AllocationIndex
from manager.loop import Plan, Step
from manager.store.view import View

FIRST_VNI, LAST_VNI = 4096, (1 << 24) - 1


class AllocationBlocked(Exception):  # noqa: N818 - it is an outcome, not a fault
    """An object must wait. ``waits_for`` is the kind and id of the object whose change may help."""

    def __init__(self, reason: str, waits_for: tuple[str, str]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.waits_for = waits_for


class Allocation:
    """One allocation pass. ``blocked`` says what each object that got nothing waits for, by kind and id."""

    def __init__(self, view: View, index: AllocationIndex, now_ns: int) -> None:
        self._view = view
        self._index = index
        self._now_ns = now_ns
        self._free_addresses: dict[str, Iterator[int]] = {}
        self._requested: dict[str, set[int]] = {}
        self._assigned_ports: dict[str, set[published_ports.PublishedPort]] = {}
        self._steps: list[Step] = []
        self.blocked: dict[tuple[str, str], tuple[str, str]] = {}

    def plan(self, networks: Iterable[str], services: Iterable[str], tasks: Iterable[str]) -> Plan:
        """Allocates for the objects with these ids, as far as they need something."""
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
        unallocated = [network for network in networks if not network.vni]
        if not unallocated:
            return
        cluster = next(iter(self._view.clusters), None) or Cluster(id="default")
        taken = subnets.all_subnets(self._view)
        wanted = {network.id: _requested_vni(network) for network in unallocated}
        used = {*self._index.vnis.values(), *wanted.values()}
        vnis = _free_vnis(used, max(self._index.highest_vni, *wanted.values()))
        for network in unallocated:
            ipam = subnets.complete_ipam(network.spec, taken, cluster)
            vni = wanted[network.id] or next(vnis, None)
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
        ports = published_ports.assign_ports(service, taken)
        if ports is None:
            raise AllocationBlocked("no published port between 30000 and 32767 is free", ("services", ""))
        addresses = self._virtual_ips(service) if spec.mode is EndpointMode.VIP else ()
        self._assigned_ports[service.id] = {(port.protocol, port.published_port) for port in ports}
        return Endpoint(spec=spec, ports=ports, virtual_ips=addresses)

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

    def _attachment_with_addresses(self, task: Task) -> Step:
        """A network attachment is assigned at once: its node is where its container is."""
        networks = tuple([self._network(config.target) for config in task.spec.networks])
        attachments = tuple([self._attachment(config) for config in task.spec.networks])
        status = replace(
            task.status,
            state=TaskState.ASSIGNED,
            timestamp_ns=self._now_ns,
            message="allocated an address on the network",
            error="",
        )
        return Step(updates=(replace(task, status=status, networks=attachments),), preconditions=networks)

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
            network = self._network(target)  # raises with the reason if the network is the cause
            if next(self._index.pools[target].free_addresses(), None) is None:
                raise AllocationBlocked(_exhausted_message(network), ("network", target))
        raise AllocationBlocked("", ("service", service.id))

    def _attachment(self, config: NetworkAttachmentConfig) -> NetworkAttachment:
        requested = next(iter(config.addresses), "")
        address = self._take_requested(config.target, requested) if requested else self._take_address(config.target)
        return NetworkAttachment(network_id=config.target, address=address, aliases=config.aliases)

    def _network(self, network_id: str) -> Network:
        network = self._view.networks.get(network_id)
        if network is None:
            raise AllocationBlocked(f"network {network_id} not found", ("network", network_id))
        if network_id not in self._index.pools:
            is_exhausted = ("network", network_id) in self.blocked or not network.vni
            name = network.spec.annotations.name
            reason = f"network {name} has no subnet: the default address pool may be exhausted" if is_exhausted else ""
            raise AllocationBlocked(reason, ("network", network_id))
        return network

    def _take_requested(self, network_id: str, text: str) -> str:
        network = self._network(network_id)
        pool, address = self._index.pools[network_id], parse_address(text)
        if not pool.first <= address <= pool.last:
            raise AllocationBlocked(
                f"invalid address {text}: It does not belong to any of the subnets of network {network.spec.annotations.name}",
                ("network", network_id),
            )
        if address in pool.holders or address in self._requested.setdefault(network_id, set()):
            raise AllocationBlocked(f"Address already in use: {text}", ("network", network_id))
        self._requested[network_id].add(address)
        return pool.as_cidr(address)

    def _take_address(self, network_id: str) -> str:
        network = self._network(network_id)
        pool = self._index.pools[network_id]
        if network_id not in self._free_addresses:
            self._free_addresses[network_id] = pool.free_addresses()
        requested = self._requested.get(network_id, set())
        address = next((item for item in self._free_addresses[network_id] if item not in requested), None)
        if address is None:
            raise AllocationBlocked(_exhausted_message(network), ("network", network_id))
        return pool.as_cidr(address)


def _exhausted_message(network: Network) -> str:
    config = network.ipam.configs[0]
    within = config.ip_range or config.subnet
    return f"could not find an available IP in network {network.spec.annotations.name}: {within} is exhausted"


def _requested_vni(network: Network) -> int:
    """The VXLAN id in the network's options, which the control API has checked; 0 for none."""
    return requested_vni(network.spec.annotations.name, network.spec.driver.options)


def _free_vnis(used: set[int], highest: int) -> Iterator[int]:
    """Free VXLAN ids: first those above the highest that was ever used, so that a freed id is not reused soon."""
    highest = max(highest, FIRST_VNI - 1)
    yield from range(highest + 1, LAST_VNI + 1)
    for vni in range(FIRST_VNI, highest):
        if vni not in used:
            yield vni
