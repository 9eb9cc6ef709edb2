"""Which route a packet takes in a namespace, decided from its rules, routes and addresses as the kernel decides. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import ip_address, ip_interface, ip_network

import msgspec

from agent.network.namespace_state import NamespaceState, Route

MAIN, DEFAULT = 254, 253
_LAST_RULES = ((32766, MAIN), (32767, DEFAULT))


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """A route as it was chosen. `kind` is that of the route, `local` for an address of the namespace itself."""

    kind: str
    device: str = ""
    gateway: str = ""
    text: str


def find_way(
    state: NamespaceState,
    address: str,
    connected: Collection[tuple[str, str]] = (),
    *,
    source: str = "",
    mark: int = 0,
    device: str = "",
) -> Way | None:
    """The way of a packet to an address, or None if the network is unreachable.

    `connected` are the routes that the kernel made of addresses, `device` is the one that the packet came in at.
    """
    for own, prefix in state.addresses:
        if str(ip_interface(prefix).ip) == address and own in state.links:
            return Way(kind="local", device=own, text=f"local {address} dev {own}")
    family = ip_address(address).version
    for table in _tables(state, family, source, mark, device):
        if (found := _in_table(state, table, address, connected)) is not None:
            return found
    return None


def _tables(state: NamespaceState, family: int, source: str, mark: int, device: str) -> Iterator[int]:
    """The tables that policy rules lead the packet through, in order."""
    rules = sorted(
        (rule.priority, rule.table, rule.goto)
        for rule in state.rules
        if rule.family == family
        and mark & (rule.mask or 0xFFFFFFFF if rule.mark else rule.mask) == rule.mark
        and rule.input_device in {"", device}
        and (not rule.source or (source and ip_address(source) in ip_network(rule.source)))
    )
    rules = sorted([*rules, *((priority, table, 0) for priority, table in _LAST_RULES)])
    floor = 0
    for priority, table, goto in rules:
        if priority < floor:
            continue
        if goto:
            floor = goto
        else:
            yield table


def _in_table(state: NamespaceState, table: int, address: str, connected: Collection[tuple[str, str]]) -> Way | None:
    target = ip_address(address)
    family = target.version
    routes = [
        Route(destination=subnet, family=family, device=device)
        for device, subnet in (connected if table == MAIN else ())
        if ip_network(subnet).version == family
    ]
    routes += [route for route in state.routes if route.table == table and route.family == family]
    best: tuple[int, int] | None = None
    chosen: Route | None = None
    for route in routes:
        network = ip_network("0.0.0.0/0" if family == 4 else "::/0") if route.destination == "default" else None
        network = network or ip_network(route.destination, strict=False)
        rank = (network.prefixlen, -route.metric)
        if target in network and (best is None or rank > best):
            best, chosen = rank, route
    if chosen is None:
        return None
    words = [chosen.destination]
    words += [chosen.kind] if chosen.kind != "unicast" else []
    words += [f"via {chosen.gateway}"] if chosen.gateway else []
    words += [f"dev {chosen.device}"] if chosen.device else []
    words += [f"table {table}"] if table != MAIN else []
    return Way(kind=chosen.kind, device=chosen.device, gateway=chosen.gateway, text=" ".join(words))
