"""Publishes ports of containers on this host: reserves them, and has the reconciler lead them to the container.

Invariant: a container's ports are published all or none. Invariant: a port is reserved before a packet is led to it, and freed after
the last rule is gone. Every method can be repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol

from agent.container.model import PortBinding, PublishedPort
from agent.endpoint.loopback_ports import LoopbackPorts
from agent.endpoint.port_plan import ANY6, LOOPBACK6, PortWish, ReachableContainer, wishes
from agent.network.bpf.loopback6 import LoopbackPort, LoopbackTarget
from agent.network.namespace_state import Fragment
from agent.network.plan import ports as plan
from agent.network.port_registry import HostPort, PortOwner, PortRegistry

Bindings = Mapping[str, tuple[PortBinding, ...] | None]


class Fragments(Protocol):
    """The part of ``agent.network.reconciler.Reconciler`` that published ports need."""

    async def put(self, key: str, fragment: Fragment) -> None: ...
    async def drop(self, key: str) -> None: ...


class PortHost(NamedTuple):
    """What the host does for published ports.

    `end_flows` ends what the kernel remembers of datagrams to these UDP ports, which would go on to where they went before.
    """

    registry: PortRegistry
    fragments: Fragments
    loopback: LoopbackPorts
    end_flows: Callable[[Collection[int]], None]


class PortPublisher:
    """One per daemon. `prefix` is the daemon's for names in the host's namespace, `default_address` replaces an empty host address."""

    def __init__(self, prefix: str, host: PortHost, default_address: str = "") -> None:
        self._prefix = prefix
        self._host = host
        self._default_address = default_address
        self._lock = asyncio.Lock()

    async def publish(
        self,
        owner: PortOwner,
        bindings: Bindings,
        container: ReachableContainer,
        before: tuple[PublishedPort, ...] = (),
    ) -> tuple[PublishedPort, ...]:
        """Publish a container's ports in place of those that it had.

        Raises PortInUseError, which names who has a port, and InvalidArgumentError. Then none is published.
        """
        kept = {(item.port, item.host_address): item.host_port for item in before}
        target = plan.ForwardTarget(device=container.device, subnets=container.subnets)
        wanted = wishes(bindings, kept, container, self._default_address)
        async with self._lock:
            published: tuple[PublishedPort, ...] = ()
            try:
                numbers = await asyncio.to_thread(self._reserve, owner, wanted)
                published = _published(wanted, numbers)
                fragment = plan.plan(self._prefix, _forwards(published, container), target)
                if fragment:
                    await self._host.fragments.put(_key(owner.id), fragment)
                await self._end_udp_flows(owner.id)
                self._host.loopback.set(owner.id, _loopback(wanted, numbers, container))
            except BaseException:
                await asyncio.shield(self._withdraw(owner.id))
                raise
        return published

    async def withdraw(self, container_id: str) -> None:
        """Take back all ports of a container."""
        async with self._lock:
            await self._withdraw(container_id)

    def close(self) -> None:
        """Free the reservations. The rules stay, for the next process to take over."""
        self._host.registry.close()

    def _reserve(self, owner: PortOwner, wanted: list[PortWish]) -> list[int]:
        numbers: list[int] = []
        leads_to: dict[HostPort, str] = {}
        for wish in wanted:
            addresses = _reserved_addresses(wish)
            given = {port for port, target in leads_to.items() if target != wish.port}
            number = self._host.registry.reserve(owner, wish.protocol, addresses, wish.first, wish.last, given=given)
            leads_to |= {HostPort(wish.protocol, address, number): wish.port for address in addresses}
            numbers.append(number)
        return numbers

    async def _withdraw(self, container_id: str) -> None:
        if self._host.registry.held_by(container_id):
            self._host.loopback.set(container_id, {})
            await self._host.fragments.drop(_key(container_id))
            await self._end_udp_flows(container_id)
            self._host.registry.release(container_id)

    async def _end_udp_flows(self, container_id: str) -> None:
        ports = {port.number for port in self._host.registry.held_by(container_id) if port.protocol == "udp"}
        if ports:
            await asyncio.to_thread(self._host.end_flows, ports)


def _key(container_id: str) -> str:
    return f"ports/{container_id}"


def _reserved_addresses(wish: PortWish) -> tuple[str, ...]:
    """The addresses that nobody else may have while the port is published."""
    needs_loopback = wish.on_loopback6 and not {ANY6, LOOPBACK6} & {*wish.host_addresses}
    return (*wish.host_addresses, *((LOOPBACK6,) if needs_loopback else ()))


def _published(wanted: list[PortWish], numbers: list[int]) -> tuple[PublishedPort, ...]:
    ordered = sorted(zip(wanted, numbers, strict=True), key=lambda item: (item[0].container_number, item[0].protocol))
    found = (
        PublishedPort(port=wish.port, host_address=address, host_port=number)
        for wish, number in ordered
        for address in wish.host_addresses
    )
    return tuple(dict.fromkeys(found))  # a port may be asked for twice


def _loopback(
    wanted: list[PortWish], numbers: list[int], container: ReachableContainer
) -> dict[LoopbackPort, LoopbackTarget]:
    target = container.v6 or container.v4
    return {
        LoopbackPort(wish.protocol, number): LoopbackTarget(target, wish.container_number)
        for wish, number in zip(wanted, numbers, strict=True)
        if wish.on_loopback6
    }


def _forwards(published: tuple[PublishedPort, ...], container: ReachableContainer) -> list[plan.PortForward]:
    forwards = []
    for item in published:
        if item.host_address == LOOPBACK6:
            continue
        number, _, protocol = item.port.partition("/")
        forwards.append(
            plan.PortForward(
                protocol=protocol,
                host_address=item.host_address,
                host_port=item.host_port,
                target_address=container.of(item.host_address),
                target_port=int(number),
            )
        )
    return forwards
