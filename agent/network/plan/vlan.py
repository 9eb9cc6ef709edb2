"""Endpoints of macvlan and ipvlan networks: a device on a parent of the host, made in the container's namespace. Pure.

A parent DEVICE.VLAN that does not exist is made as a VLAN of DEVICE, and removed with the network. A network without a parent is internal
to the host: its parent is a bridge of its own without ports.
"""

from __future__ import annotations

import msgspec

from agent.network.namespace_state import HOST, Fragment, Link, NamespaceState, container_key
from agent.network.plan.bridge import interface_sysctls


class VlanNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """A macvlan or ipvlan network as the kernel needs it. `mtu` 0 is the parent's."""

    id: str
    driver: str
    parent: str = ""
    mode: str = ""
    flag: str = ""
    mtu: int = 0


class VlanPort(msgspec.Struct, frozen=True, kw_only=True):
    """A container's interface. `addresses` have their prefix lengths. An ipvlan interface has its parent's MAC address."""

    container_id: str
    interface: str
    mac: str
    addresses: tuple[str, ...]
    sysctls: dict[str, str] = {}


def parent_device(network: VlanNetwork) -> str:
    """The device below the network's interfaces."""
    return network.parent or f"dm-{network.id[:12]}"


def plan_parent(network: VlanNetwork, prefix: str) -> Fragment | None:
    """The fragment of a parent that Covey makes; None for one that the host has. `prefix` begins no name here."""
    del prefix
    device, _, number = network.parent.rpartition(".")
    if not network.parent:
        return {HOST: NamespaceState(links={parent_device(network): Link(kind="bridge")})}
    if not device or not number.isdecimal():
        return None
    return {
        HOST: NamespaceState(links={network.parent: Link(kind="vlan", parent=device, options={"vlan_id": int(number)})})
    }


def plan_probe(network: VlanNetwork) -> Fragment:
    """A fragment that fails where the kernel cannot make the network's interfaces: one on the parent, without a container.

    It is put and dropped again when the network is created. In mode passthru the parent may have one interface alone.
    """
    name, options = f"cv{network.id[:12]}", _options(network)
    link = Link(kind=network.driver, up=False, parent=parent_device(network), made_in=HOST, options=options)
    return {HOST: NamespaceState(links={name: link})}


def plan_port(port: VlanPort, network: VlanNetwork) -> Fragment:
    """The fragment of a container's interface."""
    link = Link(
        kind=network.driver,
        mac="" if network.driver == "ipvlan" else port.mac,
        mtu=network.mtu,
        parent=parent_device(network),
        made_in=HOST,
        options=_options(network),
    )
    return {
        container_key(port.container_id): NamespaceState(
            links={port.interface: link},
            addresses=frozenset((port.interface, address) for address in port.addresses),
            sysctls=interface_sysctls(port.interface, port.addresses) | port.sysctls,
        )
    }


def _options(network: VlanNetwork) -> dict[str, int | str]:
    flag: dict[str, int | str] = {"flag": network.flag} if network.driver == "ipvlan" else {}
    return {"mode": network.mode} | flag
