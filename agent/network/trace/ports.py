"""The way through a published port of a host: of a container there, or of the routing mesh to a task on any host. Pure."""

from __future__ import annotations

from ipaddress import ip_address

from agent.network.namespace_state import HOST
from agent.network.plan.names import port_name
from agent.network.trace.containers import enter, owned, place_of
from agent.network.trace.model import Endpoint, Question
from agent.network.trace.overlays import addresses_in, neighbour
from agent.network.trace.trail import PathEndsError, Place, Trail, device_of
from agent.network.trace.underlay import cross
from agent.network.trace.verdicts import Packet

_ANYWHERE = {4: "192.0.2.1", 6: "2001:db8::1"}
"""Addresses of no network that is used, for the route of packets that carry a mark."""


def publish(trail: Trail, host: str, address: str, question: Question, *, own: bool) -> bool:
    """Through a published port of a host; `own` is a program of the host itself. Returns whether all ways arrive."""
    place = trail.at(host, HOST)
    prefix = _prefix(trail, host)
    packet = Packet(destination=address, protocol=question.protocol, port=question.port)
    place.firewall("output" if own else "prerouting", packet)
    if not device_of(place.state, address) or (not own and ip_address(address).is_loopback):
        reason = f"{address} is not an address by which others reach {host}"
        raise place.broken("published port", "addresses", "missing", reason, f"trace to an address of {host}")
    family = packet.family
    number, protocol = str(question.port), question.protocol
    ports, mesh = f"inet {prefix}-ports", f"inet {prefix}-mesh"
    found = place.element(ports, f"at{family}", f"{protocol} . {address} . {number}")
    found = found or place.element(ports, f"any{family}", f"{protocol} . {number}")
    if found:
        target, _, target_port = found.partition(" . ")
        place.chain("published port", ports, "own" if own else "enter")
        place.passed("published port", f"map {ports} any{family} and at{family}", f"{target} port {target_port}")
        to_container(trail, host, target, _to(packet, target, int(target_port)), what=f"port {number}/{protocol}")
        return True
    verdict = place.element(mesh, f"ports{family}", f"{protocol} . {number}")
    if verdict is not None:
        place.chain("published port", mesh, "own" if own else "enter")
        return _mesh(trail, place, packet, verdict.rpartition(" ")[2])
    raise _unpublished(trail, place, packet, mesh)


def to_container(trail: Trail, host: str, address: str, packet: Packet, *, what: str, back_to: str = "") -> None:
    """From the namespace of a host to a container's address there: bridge or routed pair, and into the container."""
    place = trail.at(host, HOST)
    target = trail.owner(host, address)
    path = "net/ipv4/ip_forward" if packet.family == 4 else "net/ipv6/conf/all/forwarding"
    place.sysctl("forwarding", path)
    if target is not None:
        if not device_of(place_of(trail, target).state, address):
            owned(place_of(trail, target), address)
        _whole_pair(trail, place, target, address)
    way = place.route("route", address)
    if target is None:
        expected = _expected(trail, host, address)
        if expected is not None:
            enter(trail, expected, address, packet)
        reason = f"{what} leads to {address}, which no container on {host} has"
        raise place.broken("container", "addresses of the containers", "none", reason)
    place.firewall("forward", packet.on(output=way.device))
    to_port(trail, place, way.device, target, address)
    enter(trail, target, address, packet, back_to)


def to_port(trail: Trail, place: Place, device: str, target: Endpoint, address: str) -> None:
    """From a bridge of the host, or by a routed pair, to the container's device."""
    inner = device_of(place_of(trail, target).state, address)
    port = port_name(target.container_id, inner)
    if port == device:
        place.link("way out", port, what=f"the pair {port} of {target.name}")
        neighbour(place, port, address, "")
        return
    if device not in place.state.links or place.state.links[device].kind != "bridge":
        reason = f"the route to {address} leads out of {device or 'no device'}, not to {target.name}"
        raise place.broken("route", f"routes and rules to {address}", device, reason)
    place.link("bridge", device)
    place.link("bridge port", port, master=device, what=f"the port {port} of {target.name}")


def _whole_pair(trail: Trail, place: Place, target: Endpoint, address: str) -> None:
    """The host's end of a routed pair is up: if it is not, its route has gone with it."""
    port = port_name(target.container_id, device_of(place_of(trail, target).state, address))
    link = place.state.links.get(port)
    if link is not None and not link.master and not link.up:
        place.link("way out", port, what=f"the pair {port} of {target.name}")


def _mesh(trail: Trail, place: Place, packet: Packet, name: str) -> bool:
    prefix = _prefix(trail, place.host)
    table = f"inet {prefix}-mesh"
    rules = place.rules_of(table, name)
    found = addresses_in(rules)
    if not found:
        raise place.broken(
            "routing mesh", f"chain {table} {name}", "; ".join(rules) or "empty", "the port leads to no task"
        )
    place.passed("routing mesh", f"chain {table} {name}", f"port {packet.port} leads to {', '.join(found)}")
    target_port = port_in(rules)
    arrived = True
    for identity in found:
        try:
            _to_task(trail, place, packet, identity, target_port)
        except PathEndsError:
            arrived = False
    return arrived


def _to_task(trail: Trail, place: Place, packet: Packet, identity: str, port: int) -> None:
    prefix = _prefix(trail, place.host)
    table, device, family = f"inet {prefix}-mesh", f"{prefix}mesh", packet.family
    if trail.owner(place.host, identity) is not None:  # a task of this very host, which needs no tunnel
        to_container(trail, place.host, identity, _to(packet, identity, port), what=f"port {packet.port} of the mesh")
        return
    task = _of_mesh(trail, identity)
    if task is None:
        reason = f"the routing mesh leads to {identity}, which no running task has"
        raise place.broken("routing mesh", f"chains of {table}", identity, reason)
    tunnel = place.link("mesh tunnel", device)
    far = place
    if task.host != place.host:
        way = place.route("mesh route", identity)
        if way.device != device or not way.gateway:
            reason = f"{identity} of {task.name} is not routed into the mesh"
            raise place.broken("mesh route", f"routes to {identity}", way.text, reason)
        neighbour(place, device, way.gateway, "")
        mac = next(n.mac for n in place.state.neighbours if (n.device, n.address) == (device, way.gateway))
        hosts = [one.host for one in place.state.fdb if (one.device, one.mac) == (device, mac) and one.host]
        if not hosts:
            reason = f"the mesh's tunnel does not know the host of {way.gateway}, the node of {task.name}"
            raise place.broken("forwarding", f"forwarding entry {mac} of {device}", "missing", reason)
        place.passed("forwarding", f"forwarding entry {mac} of {device}", f"at {hosts[0]}")
        cross(trail, place.host, task.host, tunnel, hosts[0])
        far = trail.at(task.host, HOST)
        own = far.link("mesh tunnel", device)
        if own.mac != mac:
            reason = f"the mesh's tunnel at {task.host} has the MAC {own.mac}, so it drops what is for {mac}"
            raise far.broken("mesh tunnel", f"device {device}", own.mac, reason)
        _way_back(far, table, tunnel.mac, place.host, family)
    local = far.element(table, f"local{family}", identity)
    if local is None:
        reason = f"{identity} is not translated to the container of {task.name}"
        raise far.broken("task", f"map {table} local{family}", "missing", reason)
    far.chain("task", table, "enter")
    far.passed("task", f"map {table} local{family}", f"{identity} is {local}")
    to_container(trail, task.host, local, _to(packet, local, port), what=f"port {packet.port} of the mesh")


def _of_mesh(trail: Trail, identity: str) -> Endpoint | None:
    """The task with an address on the ingress network."""
    for one in trail.view.endpoints:
        for attachment in one.attachments:
            if trail.view.networks[attachment.network].ingress and identity in attachment.addresses:
                return one
    return None


def _way_back(far: Place, table: str, mac: str, entry: str, family: int) -> None:
    """The mark and the policy rule by which answers go back to the node where the connection came in."""
    if table not in far.state.tables or "marks" not in far.state.tables[table].sets:
        raise far.broken("policy", f"table {table}", "missing", "the routing mesh is missing on this host")
    mark = far.element(table, "marks", mac)
    if mark is None:
        if far.state.tables[table].sets["marks"].elements or far.state.rules:
            reason = f"connections that come in at {entry} get no mark, so answers do not go back there"
            raise far.broken("policy", f"map {table} marks", "missing", reason)
        return  # the mesh hides clients' addresses, and needs no marks
    for name in ("arrive", "send-back"):
        far.chain("policy", table, name)
    way = far.route("reply", _ANYWHERE[family], mark=int(mark, 0))
    if not way.device.endswith("mesh"):
        reason = (
            f"no policy rule leads answers with the mark of {entry} back into the mesh: they go out of {way.device}"
        )
        raise far.broken("policy", f"policy rules for mark {mark}", way.text, reason)


def _unpublished(trail: Trail, place: Place, packet: Packet, mesh: str) -> PathEndsError:
    number, protocol, family = str(packet.port), packet.protocol, packet.family
    wanted = f"{protocol} {number}"
    read = f"maps of inet {_prefix(trail, place.host)}-ports and {mesh}"
    if place.element(mesh, "refused", f"ipv{family} . {protocol} . {number}") is not None:
        reason = f"no task of the service that publishes port {number}/{protocol} is ready, so connections are refused"
        return place.broken("published port", f"set {mesh} refused", "refused", reason, "docker service ps SERVICE")
    for service in trail.view.services:
        if wanted in service.published:
            reason = f"port {number}/{protocol} of the service {service.name} leads nowhere on {place.host}"
            return place.broken("published port", read, "missing", reason)
    for endpoint in trail.view.endpoints:
        if endpoint.host == place.host and wanted in endpoint.published:
            reason = f"port {number}/{protocol} of {endpoint.name} leads nowhere on {place.host}"
            return place.broken("published port", read, "missing", reason)
    reason = f"nobody publishes port {number}/{protocol} on {place.host}"
    return place.broken("published port", read, "missing", reason, "publish it: docker run -p, docker service update")


def _prefix(trail: Trail, host: str) -> str:
    reading = trail.view.hosts[host].reading
    return reading.prefix if reading else ""


def _expected(trail: Trail, host: str, address: str) -> Endpoint | None:
    """The container that should have the address."""
    for one in trail.view.endpoints:
        if one.host == host and any(address in attachment.addresses for attachment in one.attachments):
            return one
    return None


def port_in(rules: tuple[str, ...]) -> int:
    """The port that a rule translates to: the last number of its first address and port."""
    for rule in rules:
        text = rule.rpartition("dnat ")[2].rstrip(" }")
        last = text.replace(":", " ").replace(".", " ").split()[-1]
        if last.isdigit():
            return int(last)
    return 0


def _to(packet: Packet, address: str, port: int) -> Packet:
    return Packet(source=packet.source, destination=address, protocol=packet.protocol, port=port, translated=True)
