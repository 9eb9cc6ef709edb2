"""The way over an overlay network: VIP and backends, forwarding entries, neighbours, tunnel, the other host's bridge. Pure."""

from __future__ import annotations

import re

from agent.network.namespace_state import HOST, FdbEntry, Link, container_key, network_key
from agent.network.plan.names import port_name
from agent.network.plan.overlay import BRIDGE, TUNNEL
from agent.network.plan.vips import TABLE as VIPS
from agent.network.trace.containers import interface_mac
from agent.network.trace.model import Endpoint, TracedNetwork, TracedService
from agent.network.trace.trail import Place, Trail, device_of
from agent.network.trace.underlay import cross

_ADDRESS = re.compile(r"(?<![\w.:])(?:\d+\.\d+\.\d+\.\d+|[0-9a-f]*:[0-9a-f:]+)(?![\w:])")

_PORT = re.compile(r"(\d+\.\d+\.\d+\.\d+|\]):\d+")


def onto(trail: Trail, network: TracedNetwork, source: Endpoint, device: str) -> Place:
    """From a container's device onto the bridge of the network's sandbox on its host."""
    place = trail.at(source.host, network_key(network.id))
    port = port_name(source.container_id, device)
    place.link("bridge port", port, master=BRIDGE, what=f"the port {port} of {source.name}")
    place.link("bridge", BRIDGE)
    return place


def backends(place: Place, service: TracedService, vip: str, expected: dict[str, Endpoint]) -> tuple[str, ...]:
    """The addresses that a VIP leads to, as the kernel has them. `expected` are the service's ready endpoints by address."""
    family = 6 if ":" in vip else 4
    if not any(text.partition("/")[0] == vip for device, text in place.state.addresses if device == BRIDGE):
        reason = f"the bridge does not have the VIP {vip} of {service.name}"
        raise place.broken("VIP", f"addresses of {BRIDGE}", "missing", reason)
    if place.element(VIPS, f"refused{family}", vip) is not None:
        reason = f"no task of {service.name} is ready, so connections to its VIP are refused"
        remedy = f"docker service ps {service.name}"
        raise place.broken("VIP", f"set {VIPS} refused{family}", "refused", reason, remedy)
    verdict = place.element(VIPS, f"vips{family}", vip)
    if verdict is None:
        reason = f"the VIP {vip} of {service.name} leads to no backends"
        raise place.broken("VIP", f"map {VIPS} vips{family}", "missing", reason)
    place.chain("VIP", VIPS, "balance")
    name = verdict.rpartition(" ")[2]
    rules = place.rules_of(VIPS, name)
    found = addresses_in(rules)
    if not found:
        raise place.broken("backends", f"chain {VIPS} {name}", " ; ".join(rules) or "empty", "the VIP has no backends")
    for wrong in [one for one in found if one not in expected]:
        reason = f"{wrong} is no ready task of {service.name}"
        raise place.broken("backends", f"chain {VIPS} {name}", ", ".join(found), reason)
    place.passed("VIP", f"map {VIPS} vips{family} and chain {name}", f"{vip} leads to {', '.join(found)}")
    for missing in sorted(set(expected) - set(found)):
        place.note("backends", f"chain {VIPS} {name}", "missing", f"the ready task at {missing} gets no connections")
    path = "net/ipv4/ip_forward" if family == 4 else "net/ipv6/conf/all/forwarding"
    place.sysctl("forwarding", path)
    return found


def addresses_in(rules: tuple[str, ...]) -> tuple[str, ...]:
    """The addresses that rules translate to."""
    found: dict[str, None] = {}
    for rule in rules:
        _, dnat, rest = rule.partition("dnat ")
        if dnat:
            found |= dict.fromkeys(_ADDRESS.findall(_PORT.sub(r"\1", rest)))
    return tuple(found)


def deliver(
    trail: Trail, network: TracedNetwork, host: str, target: Endpoint, address: str, *, from_bridge: bool
) -> None:
    """From the network's sandbox on a host to the port of the endpoint. `from_bridge`: the bridge sends, not a container."""
    place = trail.at(host, network_key(network.id))
    mac = interface_mac(trail, target, address)
    if from_bridge:
        neighbour(place, BRIDGE, address, mac)
    if target.host != host:
        place = _through_tunnel(trail, network, place, target, address=address, mac=mac)
    _to_port(trail, place, target, address, mac)


def answer(trail: Trail, network: TracedNetwork, source: Endpoint, own: str, target: Endpoint) -> None:
    """The entries by which the answer finds its way back."""
    if source.host == target.host:
        return
    place = trail.at(target.host, network_key(network.id))
    mac = interface_mac(trail, source, own)
    tunnel = place.link("reply", TUNNEL, master=BRIDGE)
    host = _forwarding(place, "reply", own, mac)
    cross(trail, target.host, source.host, tunnel, host)
    _entry(trail.at(source.host, network_key(network.id)), "reply", source, own, mac)


def neighbour(place: Place, device: str, address: str, mac: str) -> None:
    """The permanent entry of an address on a device."""
    read = f"neighbour {address} of {device}"
    found = next((one.mac for one in place.state.neighbours if (one.device, one.address) == (device, address)), "")
    if not found:
        raise place.broken("neighbour", read, "missing", f"{device} does not know who has {address}")
    if mac and found != mac:
        raise place.broken("neighbour", read, found, f"{address} has the MAC {mac}, so packets for it go astray")
    place.passed("neighbour", read, found)


def _through_tunnel(
    trail: Trail, network: TracedNetwork, place: Place, target: Endpoint, *, address: str, mac: str
) -> Place:
    tunnel = place.link("tunnel", TUNNEL, master=BRIDGE)  # first: a device that is down has lost its entries
    _same_id(place, tunnel, network)
    neighbour(place, TUNNEL, address, mac)
    host = _forwarding(place, "forwarding", address, mac)
    known = trail.view.hosts.get(target.host)
    reading = known.reading if known else None
    is_its = known is not None and known.address == host  # if it has lost that address, its own hop says so
    if reading and HOST in reading.namespaces and not is_its and not device_of(reading.namespaces[HOST].state, host):
        reason = f"the entry leads to {host}, which {target.host}, the host of {target.name}, does not have"
        raise place.broken("forwarding", f"forwarding entry {mac} of {TUNNEL}", host, reason)
    cross(trail, place.host, target.host, tunnel, host)
    far = trail.at(target.host, network_key(network.id))
    other = far.link("tunnel", TUNNEL, master=BRIDGE)
    _same_id(far, other, network)
    far.link("bridge", BRIDGE)
    return far


def _forwarding(place: Place, step: str, address: str, mac: str) -> str:
    """Behind which host a MAC is. The bridge leads it to the tunnel, and the tunnel to the host."""
    read = f"forwarding entry {mac} of {TUNNEL}"
    if FdbEntry(TUNNEL, mac) not in place.state.fdb:
        raise place.broken(step, read, "missing", f"the bridge does not send {address} ({mac}) into the tunnel")
    hosts = [one.host for one in place.state.fdb if (one.device, one.mac) == (TUNNEL, mac) and one.host]
    if not hosts:
        raise place.broken(step, read, "missing", f"the tunnel does not know the host of {address} ({mac})")
    place.passed(step, read, f"at {hosts[0]}")
    return hosts[0]


def _same_id(place: Place, tunnel: Link, network: TracedNetwork) -> None:
    found = int(tunnel.options.get("vxlan_id", 0) or 0)
    if network.vni and found != network.vni:
        reason = f"the network {network.name} has the VXLAN id {network.vni}, so other hosts drop its packets"
        raise place.broken("tunnel", f"device {TUNNEL}", f"VXLAN id {found}", reason)


def _to_port(trail: Trail, place: Place, target: Endpoint, address: str, mac: str) -> None:
    known = trail.at(target.host, container_key(target.container_id))
    device = device_of(known.state, address)
    if not device:  # the container's own hop says so
        return
    port = port_name(target.container_id, device)
    place.link("bridge port", port, master=BRIDGE, what=f"the port {port} of {target.name}")
    _entry(place, "forwarding", target, address, mac)


def _entry(place: Place, step: str, endpoint: Endpoint, address: str, mac: str) -> None:
    ports = [one.device for one in place.state.fdb if one.mac == mac and not one.host and one.device != TUNNEL]
    read = f"forwarding entry {mac} of {BRIDGE}"
    expected = [name for name in place.state.links if name in _ports_of(place, endpoint)]
    if not ports:
        raise place.broken(step, read, "missing", f"the bridge does not know the port of {endpoint.name} ({address})")
    if expected and ports[0] not in expected:
        raise place.broken(step, read, f"port {ports[0]}", f"it is not the port of {endpoint.name} ({address})")
    place.passed(step, read, f"port {ports[0]}")


def _ports_of(place: Place, endpoint: Endpoint) -> set[str]:
    known = place.trail.view.hosts[endpoint.host].reading
    reading = known.namespaces.get(container_key(endpoint.container_id)) if known else None
    return {port_name(endpoint.container_id, name) for name in reading.state.links} if reading else set()
