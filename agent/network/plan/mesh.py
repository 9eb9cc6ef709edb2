"""The routing mesh as fragments: every node answers on the published ports of services, and tasks see the client's address. Pure.

A layer 3 VXLAN device joins the nodes. A task's address on the ingress network is its identity, not an interface: nodes route it to the
task's node, which translates it to the container. The task's node remembers by a mark from which node a connection came, and sends the
replies back there, so that the entry node can undo its translation.

With `snat` the entry node gives connections its own address in the mesh instead. Replies find their way back by that address, without
marks and policy routing, and the task does not see the client's.

Invariant: a change of one service, node or task is a change of its fragment alone.
Invariant: the same client port through two entry nodes is two connections: each entry has a conntrack zone of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agent.network.namespace_state import (
    HOST,
    FdbEntry,
    Fragment,
    Link,
    NamespaceState,
    Neighbour,
    NftChain,
    NftTable,
    Route,
)
from agent.network.plan import encryption, late_replies, members, mesh_marks
from agent.network.plan.balance import balance
from agent.network.plan.mesh_model import LocalTask, Mesh, MeshBackend, MeshNode, MeshPort
from agent.network.plan.mesh_table import mesh_chains, mesh_sets


def base(mesh: Mesh) -> Fragment:
    """The tunnel's device, this node's addresses on it, and the rules that all connections of the mesh share."""
    own, device = mesh.own, mesh.device
    addresses = {(device, f"{own.address}/32")} | ({(device, f"{own.address6}/128")} if own.address6 else set())
    rules = {rule for family in (4, 6) for rule in mesh_marks.common_rules(device, family)}
    sources = [*_clients(own), *mesh.container_subnets]
    sealed = {encryption.table_name(mesh.prefix): encryption.guard(mesh.prefix, mesh.port, mesh.vni)}
    marked = {f"net/ipv4/conf/{device}/src_valid_mark": "1"}
    return {
        HOST: NamespaceState(
            links={
                device: Link(
                    kind="vxlan",
                    mac=own.mac,
                    mtu=mesh.mtu,
                    options={
                        "vxlan_id": mesh.vni,
                        "vxlan_local": encryption.ANY_SOURCE if mesh.encrypted else own.host,
                        "vxlan_port": mesh.port,
                        "vxlan_learning": 0,
                    },
                )
            },
            addresses=frozenset(addresses),
            rules=frozenset() if mesh.snat else frozenset(rules),
            sysctls={
                "net/ipv4/ip_forward": "1",
                "net/ipv6/conf/all/forwarding": "1",
                f"net/ipv4/conf/{device}/route_localnet": "1",
                **({} if mesh.snat else marked),
            },
            tables={
                mesh.table: NftTable(chains=mesh_chains(mesh), sets=mesh_sets(snat=sources) | late_replies.sets()),
                **(sealed if mesh.encrypted else members.network(mesh.prefix, mesh.vni, mesh.port)),
            },
        )
    }


def node(mesh: Mesh, peer: MeshNode) -> Fragment:
    """The way to another node, and back to it for connections that came in there."""
    device = mesh.device
    addresses = [address for address in (peer.address, peer.address6) if address]
    state = NamespaceState(
        neighbours=frozenset(Neighbour(device, address, peer.mac) for address in addresses),
        fdb=frozenset({FdbEntry(device, peer.mac, peer.tunnel or peer.host)}),
    )
    if not mesh.encrypted:
        state = msgspec.structs.replace(state, tables=members.member(mesh.prefix, mesh.vni, peer.tunnel or peer.host))
    if mesh.snat:
        back = frozenset(
            Route(
                destination=f"{address}/{128 if ':' in address else 32}",
                family=6 if ":" in address else 4,
                device=device,
            )
            for address in addresses
        )
        return {HOST: msgspec.structs.replace(state, routes=back)}
    return {HOST: _marked_way(mesh, peer, state)}


def _marked_way(mesh: Mesh, peer: MeshNode, state: NamespaceState) -> NamespaceState:
    """The state with the way back for connections that have the mark of another node."""
    device, table = mesh.device, mesh_marks.table(peer.number)
    routes = {Route(destination="default", gateway=peer.address, device=device, table=table, onlink=True)}
    rules = {mesh_marks.node_rule(peer.number, 4)}
    if peer.address6:
        routes.add(
            Route(destination="default", family=6, gateway=peer.address6, device=device, table=table, onlink=True)
        )
        rules.add(mesh_marks.node_rule(peer.number, 6))
    sets = mesh_sets(
        snat=_clients(peer),
        marks={peer.mac: f"0x{mesh_marks.mark(peer.number):08x}"},
        zones={peer.mac: str(peer.number)},
    )
    return msgspec.structs.replace(
        state,
        routes=frozenset(routes),
        rules=frozenset(rules),
        tables={**state.tables, mesh.table: NftTable(sets=sets)},
    )


def _clients(node: MeshNode) -> tuple[str, ...]:
    return tuple(dict.fromkeys((node.host, *node.clients)))


def remote_task(mesh: Mesh, task: MeshBackend, peer: MeshNode) -> Fragment:
    """The route of a task's identity to its node."""
    routes = {Route(destination=f"{task.address}/32", gateway=peer.address, device=mesh.device, onlink=True)}
    if task.address6 and peer.address6:
        routes.add(
            Route(destination=f"{task.address6}/128", family=6, gateway=peer.address6, device=mesh.device, onlink=True)
        )
    return {HOST: NamespaceState(routes=frozenset(routes))}


def local_task(mesh: Mesh, task: MeshBackend, container: LocalTask) -> Fragment:
    """The translation of a task's identity to its container on this node."""
    sets = mesh_sets(
        local4={task.address: container.address} if container.address else {},
        local6={task.address6: container.address6} if task.address6 and container.address6 else {},
        hairpin=container.neighbours,
    )
    sysctls = {f"net/ipv4/conf/{container.device}/route_localnet": "1"} if container.device else {}
    return {HOST: NamespaceState(tables={mesh.table: NftTable(sets=sets)}, sysctls=sysctls)}


def published(mesh: Mesh, port: MeshPort, backends: Sequence[MeshBackend]) -> Fragment:
    """One published port of a service: connections take turns over its ready tasks, and are refused at once without any."""
    key = f"{port.protocol} . {port.number}"
    chains, verdicts = {}, {}
    for family, addresses in (
        (4, [item.address for item in backends if item.address]),
        (6, [item.address6 for item in backends if item.address6]),
    ):
        if addresses:
            name = f"port{family}-{port.protocol}-{port.number}"
            seed = f"{port.service_id} {mesh.own.number}"
            rule = balance(f"meta l4proto {port.protocol}", addresses, seed, port.target)
            chains[name] = NftChain(rules=(rule,))
            verdicts[f"ports{family}"] = {key: f"jump {name}"}
    refused = [f"{family}" for family in (4, 6) if f"ports{family}" not in verdicts]
    sets = mesh_sets(
        ports4=verdicts.get("ports4", {}),
        ports6=verdicts.get("ports6", {}),
        refused={f"ipv{family} . {key}": "" for family in refused},
    )
    return {HOST: NamespaceState(tables={mesh.table: NftTable(chains=chains, sets=sets)})}
