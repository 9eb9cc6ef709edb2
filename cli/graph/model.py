"""Graph of a network: hosts, their endpoints and the services in front of them, from what the API shows of the network. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec


class GraphEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A container or task on the network. `service` is empty for a single container."""

    name: str
    addresses: tuple[str, ...]
    service: str = ""


class GraphHost(msgspec.Struct, frozen=True, kw_only=True):
    """A host on the network. `address` is that of its tunnels, empty on a network of one host."""

    name: str
    address: str = ""
    endpoints: tuple[GraphEndpoint, ...] = ()


class GraphService(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    address: str = ""
    ports: tuple[str, ...] = ()


class NetworkGraph(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    driver: str
    subnets: tuple[str, ...]
    hosts: tuple[GraphHost, ...]
    services: tuple[GraphService, ...]


def network_graph(network: Mapping[str, Any], own_name: str, nodes: Iterable[Mapping[str, Any]] = ()) -> NetworkGraph:
    """The graph of a network that was inspected with `verbose`. `own_name` is the daemon's host; `nodes` are those of the cluster, by
    whose addresses tasks are placed.
    """
    names = {node["ID"]: node["Description"]["Hostname"] for node in nodes}
    by_address = {node["Status"].get("Addr", ""): names[node["ID"]] for node in nodes} if names else {}
    hosts: dict[str, list[GraphEndpoint]] = {own_name: []}
    addresses: dict[str, str] = {}
    for peer in network.get("Peers") or ():
        name = names.get(peer["Name"], peer["Name"])
        hosts.setdefault(name, [])
        addresses[name] = peer["IP"]
        by_address.setdefault(peer["IP"], name)
    services, shown = [], set()
    for name, service in sorted((network.get("Services") or {}).items()):
        if name:
            services.append(
                GraphService(name=name, address=service.get("VIP") or "", ports=tuple(service.get("Ports") or ()))
            )
        for task in service.get("Tasks") or ():
            address = (task.get("Info") or {}).get("Host IP", "")
            host = by_address.get(address, address or own_name)
            addresses.setdefault(host, address)
            endpoint = GraphEndpoint(name=task["Name"], addresses=(task["EndpointIP"],), service=name)
            hosts.setdefault(host, []).append(endpoint)
            shown |= {task.get("EndpointID"), task["EndpointIP"]}
    for container in (network.get("Containers") or {}).values():
        own = tuple(filter(None, (container.get("IPv4Address"), container.get("IPv6Address"))))
        if container.get("EndpointID") in shown or any(one.partition("/")[0] in shown for one in own):
            continue
        hosts[own_name].append(
            GraphEndpoint(name=container["Name"], addresses=tuple(one.partition("/")[0] for one in own))
        )
    return NetworkGraph(
        name=network["Name"],
        driver=network["Driver"],
        subnets=tuple(item["Subnet"] for item in (network.get("IPAM") or {}).get("Config") or () if item.get("Subnet")),
        hosts=tuple(
            GraphHost(
                name=name,
                address=addresses.get(name, ""),
                endpoints=tuple(sorted(endpoints, key=lambda one: (one.name, one.addresses))),
            )
            for name, endpoints in sorted(hosts.items())
            if endpoints or name in addresses
        ),
        services=tuple(services),
    )
