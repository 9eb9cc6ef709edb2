"""The two ends of a path: how a packet leaves the container that sends it, and how it enters the one that it is for. Pure."""

from __future__ import annotations

from agent.network.namespace_state import container_key
from agent.network.plan.resolver import TABLE as RESOLVER
from agent.network.trace.model import REPAIR, Endpoint
from agent.network.trace.sockets import takes
from agent.network.trace.trail import Place, Trail, device_of
from agent.network.trace.verdicts import Packet


def place_of(trail: Trail, endpoint: Endpoint) -> Place:
    return trail.at(endpoint.host, container_key(endpoint.container_id))


def look_up(trail: Trail, source: Endpoint, name: str, answer: str) -> None:
    """The name lookup of a container: the way to its resolver, and what the cluster's state answers."""
    place = place_of(trail, source)
    for one in place.reading.differences:
        if RESOLVER in one.item:
            reason = f"names cannot be looked up: {one.item} is {one.kind}"
            raise place.broken("name", one.item, one.found[:300] or "missing", reason)
    rules = place.rules_of(RESOLVER, "output")
    if rules and place.reading.listeners is not None:
        ports = {rule.rpartition(":")[2] for rule in rules if " udp " in rule}
        if not any(one.startswith("udp ") and one.rpartition(" ")[2] in ports for one in place.reading.listeners):
            reason = "the container's resolver does not listen, so names cannot be looked up"
            raise place.broken("name", f"sockets and chain {RESOLVER} output", "no socket", reason, "restart coveyd")
    where = f"chain {RESOLVER} output" if rules else "no resolver of Covey: the host's nameservers"
    place.passed("name", where, f"{name} is {answer}")


def leave(trail: Trail, source: Endpoint, own: str, packet: Packet, *, on_network: bool = True) -> tuple[Place, str]:
    """Out of the container with the address `own`. Returns its namespace, and the device that the packet leaves by.

    `on_network`: it is for another endpoint of the network of that address.
    """
    place = place_of(trail, source)
    device = owned(place, own)
    way = place.route("route", packet.destination, source=own)
    if on_network and way.device != device:
        reason = f"the route to {packet.destination} leads out of {way.device}, not of {device} with {own}"
        remedy = f"{REPAIR}, or disconnect the container from its network and connect it"
        raise place.broken("route", f"routes and rules to {packet.destination}", way.text, reason, remedy)
    place.firewall("output", packet.on(output=way.device))
    return place, way.device


def owned(place: Place, address: str) -> str:
    """The device with the container's address, which must be there and up."""
    device = device_of(place.state, address)
    if not device:
        reason = f"the container does not have its address {address}"
        raise place.broken("interface", "addresses", "missing", reason)
    place.link("interface", device, what=f"the container's device {device} with {address}")
    return device


def enter(trail: Trail, target: Endpoint, address: str, packet: Packet, back_to: str = "") -> None:
    """Into the container: its device and address, its own rules, a socket that listens, and a route back."""
    place = place_of(trail, target)
    device = owned(place, address)
    place.firewall("input", packet.on(input_=device))
    if packet.port and place.reading.listeners is not None and packet.protocol != "sctp":
        found = [one for one in place.reading.listeners if takes(one, packet.protocol, address, packet.port)]
        read = f"{packet.protocol} sockets"
        if not found:
            reason = f"nothing in {target.name} listens on {packet.protocol} port {packet.port} of {address}"
            remedy = "see that the program runs and listens on all addresses, not on 127.0.0.1 alone"
            raise place.broken("socket", read, "none", reason, remedy)
        place.passed("socket", read, found[0])
    if back_to:
        place.route("reply", back_to, source=address)


def interface_mac(trail: Trail, endpoint: Endpoint, address: str) -> str:
    """The MAC of the container's device with the address, as its kernel has it; empty if that is not known."""
    known = trail.view.hosts.get(endpoint.host)
    reading = known.reading.namespaces.get(container_key(endpoint.container_id)) if known and known.reading else None
    if reading is None:
        return next((one.mac for one in endpoint.attachments if address in one.addresses), "")
    link = reading.state.links.get(device_of(reading.state, address))
    return link.mac if link else next((one.mac for one in endpoint.attachments if address in one.addresses), "")
