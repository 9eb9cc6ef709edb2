"""Walks the path of a packet from one place to another over the readings of the hosts on the way, and says where it ends. Pure.

Invariant: a hop that passed was found in a kernel's state; a path that is broken says which hop, what was read there, and the remedy.
"""

from __future__ import annotations

from ipaddress import ip_address

from agent.network.namespace_state import HOST, container_key
from agent.network.plan.names import port_name
from agent.network.trace.containers import enter, leave, look_up, owned, place_of
from agent.network.trace.model import (
    Attachment,
    Endpoint,
    Hop,
    Question,
    State,
    Trace,
    TracedNetwork,
    TracedService,
    View,
)
from agent.network.trace.overlays import answer, backends, deliver, onto
from agent.network.trace.ports import publish, to_container, to_port
from agent.network.trace.resolve import (
    TASKS,
    endpoint_of,
    endpoints_of,
    host_of,
    is_address,
    owner_of,
    service_of,
    split_outside,
)
from agent.network.trace.routes import MAIN, find_way
from agent.network.trace.trail import PathEndsError, Trail, device_of
from agent.network.trace.verdicts import Packet


def walk(view: View, question: Question) -> Trace:
    """The path that a packet would take."""
    trail = Trail(view)
    try:
        arrived = _walk(trail, question)
    except PathEndsError:
        arrived = False
    return Trace(
        hops=tuple(trail.hops),
        reached=arrived and not any(one.state is State.BROKEN for one in trail.hops),
        missing=frozenset(trail.missing),
    )


def _walk(trail: Trail, question: Question) -> bool:
    view = trail.view
    outside = split_outside(question.source)
    host = host_of(view, outside or question.source)
    source = None if outside else endpoint_of(view, question.source)
    if source is not None:
        return _from_container(trail, question, source)
    if host is None:
        raise _unknown(trail, question.source, "from")
    return _from_host(trail, question, host, own=not outside)


def _from_host(trail: Trail, question: Question, host: str, *, own: bool) -> bool:
    """From a program of a host, or from outside to a host: to its published ports, or to a container's address."""
    view, target = trail.view, question.target
    service, endpoint = service_of(view, target), endpoint_of(view, target)
    address = _address_of(trail, host)
    direct = target if is_address(target) else _near_address(view, endpoint, host)
    if own and direct and trail.owner(host, direct) is not None:
        packet = Packet(destination=direct, protocol=question.protocol, port=question.port)
        to_container(trail, host, direct, packet, what=target)
        return True
    other = host_of(view, target)
    if is_address(target):
        address = target
        other = _host_with(trail, target, first=host)
    elif service is None and endpoint is None and other is None:
        raise _unknown(trail, target, "to")
    if not own and other not in {None, host}:
        reason = f"what is for {other} does not arrive at {host}"
        raise trail.at(host, HOST).broken(
            "published port", "the question", target, reason, f"trace from outside@{other}"
        )
    if other not in {None, host}:
        place = trail.at(host, HOST)
        address = target if is_address(target) else _address_of(trail, other or host)
        place.route("route", address)
        return publish(trail, other or host, address, question, own=False)
    if not question.port:
        reason = "without a port nothing leads from a host to a container"
        raise trail.at(host, HOST).broken(
            "published port", "the question", "no port", reason, f"name one: {target}:PORT"
        )
    return publish(trail, host, address, question, own=own)


def _address_of(trail: Trail, host: str) -> str:
    """The address by which others reach a host: as the cluster knows it, else that of its default route's device."""
    if known := trail.view.hosts[host].address:
        return known
    place = trail.at(host, HOST)
    devices = [one.device for one in place.state.routes if one.destination == "default" and one.table == MAIN]
    found = sorted(text.partition("/")[0] for device, text in place.state.addresses if device in devices)
    if not found:
        reason = f"{host} has no default route, so the address by which others reach it is not known"
        raise place.broken("host", "routes and addresses", "none", reason, "trace to an address instead of a name")
    return next((one for one in found if ip_address(one).version == 4), found[0])


def _host_with(trail: Trail, address: str, *, first: str) -> str | None:
    """The host with an address, as its kernel has it or the cluster knows it. `first` is asked first."""
    hosts = trail.view.hosts
    for name in (first, *hosts):
        reading = hosts[name].reading
        if reading and HOST in reading.namespaces and device_of(reading.namespaces[HOST].state, address):
            return name
    return next((name for name, one in hosts.items() if one.address == address), None)


def _near_address(view: View, endpoint: Endpoint | None, host: str) -> str:
    """The address by which the host itself reaches a container of its own: on a network that is no overlay."""
    if endpoint is None or endpoint.host != host:
        return ""
    found = [one for one in endpoint.attachments if not view.networks[one.network].overlay]
    return found[0].addresses[0] if found else ""


def _from_container(trail: Trail, question: Question, source: Endpoint) -> bool:
    view, target = trail.view, question.target
    if is_address(target):
        return _to_address(trail, question, source, target)
    if (service := service_of(view, target)) is not None:
        return _to_service(trail, question, source, service)
    if (endpoint := endpoint_of(view, target)) is not None:
        network, address = _common(trail, source, endpoint)
        look_up(trail, source, target, address)
        _to_endpoint(trail, question, source, network, endpoint, address=address)
        return True
    if (host := host_of(view, target)) is not None:
        return _to_host(trail, question, source, host, _address_of(trail, host))
    raise _unknown(trail, target, "to", source)


def _to_address(trail: Trail, question: Question, source: Endpoint, address: str) -> bool:
    view = trail.view
    for service in view.services:
        for network, vips in service.vips.items():
            if address in vips and source.addresses_on(network):
                return _to_service(trail, question, source, service, network)
    endpoint = owner_of(view, address, [one.network for one in source.attachments])
    if endpoint is not None:
        network = next(one.network for one in endpoint.attachments if address in one.addresses)
        _to_endpoint(trail, question, source, view.networks[network], endpoint, address=address)
        return True
    host = _host_with(trail, address, first=source.host)
    return _to_host(trail, question, source, host, address)


def _to_service(
    trail: Trail, question: Question, source: Endpoint, service: TracedService, network_id: str = ""
) -> bool:
    view = trail.view
    mine = {one.network for one in source.attachments}
    tasks = endpoints_of(view, service)
    if not question.target.startswith(TASKS):
        network_id = network_id or next((one for one in sorted(service.vips) if one in mine and service.vips[one]), "")
    if not network_id:
        shared = [task for task in tasks if any(one.network in mine for one in task.attachments)]
        if not shared:
            raise _apart(trail, source, service.name)
        look_up(trail, source, question.target, ", ".join(_common(trail, source, one)[1] for one in shared))
        for task in shared:
            _branch(trail, question, source, task)
        return True
    network, known = view.networks[network_id], service.vips[network_id]
    vip = question.target if question.target in known else known[0]
    if not is_address(question.target):
        look_up(trail, source, question.target, f"{vip}, its VIP on {network.name}")
    own = _of_family(source.addresses_on(network_id), vip)
    packet = Packet(source=own, destination=vip, protocol=question.protocol, port=question.port)
    _, device = leave(trail, source, own, packet)
    place = onto(trail, network, source, device)
    expected = {
        address: task
        for task in tasks
        for address in task.addresses_on(network_id)
        if task.ready and (":" in address) == (":" in vip)
    }
    for address in backends(place, service, vip, expected):
        try:
            task = expected[address]
            deliver(trail, network, source.host, task, address, from_bridge=True)
            enter(trail, task, address, _for(packet, address), own)
            answer(trail, network, source, own, task)
        except PathEndsError:
            continue
    return True


def _branch(trail: Trail, question: Question, source: Endpoint, task: Endpoint) -> None:
    network, address = _common(trail, source, task)
    try:
        _to_endpoint(trail, question, source, network, task, address=address)
    except PathEndsError:
        return


def _to_endpoint(
    trail: Trail, question: Question, source: Endpoint, network: TracedNetwork, target: Endpoint, *, address: str
) -> None:
    own = _of_family(source.addresses_on(network.id), address)
    packet = Packet(source=own, destination=address, protocol=question.protocol, port=question.port)
    _, device = leave(trail, source, own, packet)
    if network.overlay:
        onto(trail, network, source, device)
        deliver(trail, network, source.host, target, address, from_bridge=False)
        enter(trail, target, address, packet, own)
        answer(trail, network, source, own, target)
        return
    place = trail.at(source.host, HOST)
    port = port_name(source.container_id, device)
    place.link("bridge port", port, master=network.device, what=f"the port {port} of {source.name}")
    owned(place_of(trail, target), address)
    to_port(trail, place, network.device, target, address)
    enter(trail, target, address, packet, own)


def _to_host(trail: Trail, question: Question, source: Endpoint, host: str | None, address: str) -> bool:
    """Out of the container by its default route, to a host's published port or to somewhere else."""
    place = trail.at(source.host, container_key(source.container_id))
    way = find_way(place.state, address, place.reading.connected) or place.route("route", address)
    family = ip_address(address).version
    owns = [text.partition("/")[0] for device, text in sorted(place.state.addresses) if device == way.device]
    own = next((one for one in owns if ip_address(one).version == family), "")
    packet = Packet(source=own, destination=address, protocol=question.protocol, port=question.port)
    leave(trail, source, own, packet, on_network=False)
    outer = trail.at(source.host, HOST)
    port = port_name(source.container_id, way.device)
    outer.link("way out", port, what=f"the pair {port} of {source.name}")
    if host == source.host:
        return publish(trail, host, address, question, own=False)
    outer.sysctl("forwarding", "net/ipv4/ip_forward" if packet.family == 4 else "net/ipv6/conf/all/forwarding")
    out = outer.route("host route", address)
    outer.firewall("forward", packet.on(input_=port, output=out.device))
    if host is not None:
        return publish(trail, host, address, question, own=False)
    outer.note("beyond", f"routes to {address}", out.text, f"what is beyond {out.device} is not known to the cluster")
    return True


def _common(trail: Trail, source: Endpoint, target: Endpoint) -> tuple[TracedNetwork, str]:
    """The network that both are on, and the target's address there."""
    mine: dict[str, Attachment] = {one.network: one for one in source.attachments}
    for one in sorted(target.attachments, key=lambda each: trail.view.networks[each.network].name):
        network = trail.view.networks[one.network]
        if one.network in mine and not network.ingress and (network.overlay or source.host == target.host):
            return network, one.addresses[0]
    raise _apart(trail, source, target.name)


def _apart(trail: Trail, source: Endpoint, name: str) -> PathEndsError:
    place = trail.at(source.host, container_key(source.container_id))
    names = ", ".join(sorted(trail.view.networks[one.network].name for one in source.attachments)) or "none"
    reason = f"{source.name} and {name} have no network in common"
    return place.broken("network", "networks of both", names, reason, f"docker network connect NETWORK {source.name}")


def _unknown(trail: Trail, name: str, end: str, source: Endpoint | None = None) -> PathEndsError:
    trail.hops.append(
        Hop(
            host=source.host if source else "",
            namespace=container_key(source.container_id) if source else "",
            step="name",
            read="containers, tasks, services and nodes",
            found="none",
            state=State.BROKEN,
            reason=f"no container, task, service, node or address is called {name} (the place {end})" + _unless(trail),
            remedy="docker ps, docker service ls and docker node ls list the names",
        )
    )
    return PathEndsError()


def _unless(trail: Trail) -> str:
    known = any(one.node_id for one in trail.view.hosts.values())
    return "" if known else "; this node is no manager, so it knows what is on itself alone"


def _of_family(addresses: tuple[str, ...], like: str) -> str:
    return next((one for one in addresses if ip_address(one).version == ip_address(like).version), addresses[0])


def _for(packet: Packet, address: str) -> Packet:
    return Packet(source=packet.source, destination=address, protocol=packet.protocol, port=packet.port)
