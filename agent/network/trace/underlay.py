"""The way of a tunnel's packets from one host to another, inside WireGuard if the tunnel is encrypted. Pure."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from agent.network.namespace_state import HOST, Link
from agent.network.plan import members
from agent.network.plan.encryption import SUBNET
from agent.network.trace.trail import Place, Trail, device_of
from agent.network.trace.verdicts import Packet

WIREGUARD_PORT = 51820


def cross(trail: Trail, here: str, there: str, tunnel: Link, address: str) -> None:
    """From a host to the other end of a VXLAN tunnel, whose address is read from a forwarding entry. Then back."""
    port = int(tunnel.options.get("vxlan_port", 4789) or 4789)
    place = trail.at(here, HOST)
    packet = Packet(destination=address, protocol="udp", port=port)
    way = place.route("underlay", address)
    if way.kind == "local":
        raise place.broken("underlay", "addresses", way.text, f"the tunnel to {there} ends at {here} itself")
    place.firewall("output", packet.on(output=way.device))
    if ip_address(address) in SUBNET:
        _encrypted(trail, here, there, way.device, address)
    far = trail.at(there, HOST)
    device = device_of(far.state, address)
    if not device:
        owner = next((name for name, host in trail.view.hosts.items() if _has(trail, name, address)), "no known host")
        raise far.broken("tunnel end", "addresses", "missing", f"{there} does not have {address}: {owner} has it")
    far.link("tunnel end", device, what=f"the device {device} with the tunnel's address {address}")
    far.firewall("prerouting", packet.on(input_=device))
    far.firewall("input", packet.on(input_=device))
    _admitted(far, tunnel, here)


def _admitted(far: Place, tunnel: Link, sender: str) -> None:
    """The receiving host takes packets with the network's id from the sender: it drops those of hosts that are no members."""
    source, vni = str(tunnel.options.get("vxlan_local", "")), str(tunnel.options.get("vxlan_id", ""))
    reading = far.trail.view.hosts[far.host].reading
    if reading is None or not source or not ip_address(source).packed.strip(b"\0"):
        return  # of an encrypted network, whose packets arrive by another device
    table = members.table_name(reading.prefix)
    if far.element(table, members.VNIS, vni) is None:
        return
    name = members.members_of(source)
    read = f"set {table} {name}"
    if far.element(table, name, f"{source} . {vni}") is None:
        reason = (
            f"{source} ({sender}) is no member of the network with the VXLAN id {vni} there, so its packets are dropped"
        )
        raise far.broken("members", read, "missing", reason)
    far.passed("members", read, f"{source} . {vni}")


def _encrypted(trail: Trail, here: str, there: str, device: str, address: str) -> None:
    """The WireGuard device has a peer for the address, and its packets get to the host."""
    for name, needed in ((here, address), (there, _own_tunnel_address(trail, here))):
        host = trail.view.hosts[name]
        peers = host.reading.tunnel_peers if host.reading else None
        if peers is None or not needed:
            continue
        place = trail.at(name, HOST)
        found = [one for one in peers if ip_address(needed) in ip_network(one.partition(" ")[2])]
        if not found:
            other = there if name == here else here
            reason = f"no WireGuard peer of {name} has {needed}, the address of {other}"
            raise place.broken("encryption", f"peers of {device}", "none", reason)
        place.passed("encryption", f"peers of {device}", found[0])
    underlay = trail.view.hosts[there].address
    if underlay:
        place = trail.at(here, HOST)
        way = place.route("underlay", underlay)
        place.firewall(
            "output",
            Packet(destination=underlay, protocol="udp", port=WIREGUARD_PORT, output_device=way.device),
        )


def _own_tunnel_address(trail: Trail, name: str) -> str:
    reading = trail.view.hosts[name].reading
    state = reading.namespaces[HOST].state if reading and HOST in reading.namespaces else None
    for _, text in sorted(state.addresses) if state else ():
        address = text.partition("/")[0]
        if ip_address(address) in SUBNET:
            return address
    return ""


def _has(trail: Trail, name: str, address: str) -> bool:
    reading = trail.view.hosts[name].reading
    return (
        reading is not None and HOST in reading.namespaces and bool(device_of(reading.namespaces[HOST].state, address))
    )
