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
    NftSet,
    NftTable,
    Route,
)
from agent.network.plan import encryption, late_replies, members, mesh_marks
from agent.network.plan.balance import balance

_REFUSED = "refused"


class MeshNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node on the ingress network. `number` (1 to 65,535) is its place in the subnet, by which all nodes know it.

    `host` is its underlay address, `clients` are all that its own programs may send from. `tunnel` is where its end of the tunnel is
    reached: the underlay address, or that inside the encrypted tunnels.
    """

    number: int
    host: str
    address: str
    address6: str = ""
    mac: str
    clients: tuple[str, ...] = ()
    tunnel: str = ""


class MeshBackend(msgspec.Struct, frozen=True, kw_only=True):
    """A task as connections are led to it: its identity, or if it runs here the addresses of its container."""

    address: str
    address6: str = ""


class LocalTask(MeshBackend, frozen=True, kw_only=True):
    """The container of a task on this node, behind a device of the host. `neighbours` are addresses whose replies to it do not come
    back through the host.
    """

    device: str = ""
    neighbours: tuple[str, ...] = ()


class MeshPort(msgspec.Struct, frozen=True, kw_only=True):
    """A port that a service publishes on every node, and the port of its containers."""

    service_id: str
    protocol: str
    number: int
    target: int


class Mesh(msgspec.Struct, frozen=True, kw_only=True):
    """The ingress network on this host. `own` is this node. `container_subnets` are the addresses of its containers, in which replies
    between neighbours would not come back through the host. `snat` hides clients behind their entry node.
    """

    prefix: str
    vni: int
    port: int
    mtu: int
    own: MeshNode
    container_subnets: tuple[str, ...] = ()
    snat: bool = False
    encrypted: bool = False

    @property
    def device(self) -> str:
        return f"{self.prefix}mesh"

    @property
    def table(self) -> str:
        return mesh_table(self.prefix)


def mesh_table(prefix: str) -> str:
    """The name of the mesh's table of nftables."""
    return f"inet {prefix}-mesh"


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
                mesh.table: NftTable(chains=_chains(mesh), sets=_sets(snat=sources) | late_replies.sets()),
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
    sets = _sets(
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
    sets = _sets(
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
    sets = _sets(
        ports4=verdicts.get("ports4", {}),
        ports6=verdicts.get("ports6", {}),
        refused={f"ipv{family} . {key}": "" for family in refused},
    )
    return {HOST: NamespaceState(tables={mesh.table: NftTable(chains=chains, sets=sets)})}


def _sets(
    *,
    snat: Sequence[str] = (),
    marks: dict[str, str] | None = None,
    zones: dict[str, str] | None = None,
    local4: dict[str, str] | None = None,
    local6: dict[str, str] | None = None,
    hairpin: Sequence[str] = (),
    ports4: dict[str, str] | None = None,
    ports6: dict[str, str] | None = None,
    refused: dict[str, str] | None = None,
) -> dict[str, NftSet]:
    """All sets of the table, with these elements."""
    v4, v6 = [item for item in snat if ":" not in item], [item for item in snat if ":" in item]
    elements: dict[str, dict[str, str]] = {
        "marks": marks or {},
        "zones": zones or {},
        "local4": local4 or {},
        "local6": local6 or {},
        "snat4": dict.fromkeys(v4, ""),
        "snat6": dict.fromkeys(v6, ""),
        "hairpin4": {f"{item} . {item}": "" for item in hairpin if ":" not in item},
        "hairpin6": {f"{item} . {item}": "" for item in hairpin if ":" in item},
        "ports4": ports4 or {},
        "ports6": ports6 or {},
        _REFUSED: refused or {},
    }
    return {name: NftSet(head=head, is_map=" : " in head, elements=elements[name]) for name, head in _SET_HEADS.items()}


_SET_HEADS = {
    "marks": "type ether_addr : mark;",
    "zones": "typeof ether saddr : ct zone;",
    "local4": "type ipv4_addr : ipv4_addr;",
    "local6": "type ipv6_addr : ipv6_addr;",
    "snat4": "type ipv4_addr; flags interval;",
    "snat6": "type ipv6_addr; flags interval;",
    "hairpin4": "type ipv4_addr . ipv4_addr; flags interval;",
    "hairpin6": "type ipv6_addr . ipv6_addr; flags interval;",
    "ports4": "type inet_proto . inet_service : verdict;",
    "ports6": "type inet_proto . inet_service : verdict;",
    _REFUSED: "type nf_proto . inet_proto . inet_service;",
}


def _chains(mesh: Mesh) -> dict[str, NftChain]:
    device, own = f'"{mesh.device}"', mesh.own
    enter = (
        "meta nfproto ipv4 fib daddr type local meta l4proto { tcp, udp, sctp } meta l4proto . th dport vmap @ports4",
        "meta nfproto ipv6 fib daddr type local meta l4proto { tcp, udp, sctp } meta l4proto . th dport vmap @ports6",
    )
    of_nodes4, of_nodes6 = (
        ("meta nfproto ipv4", "meta nfproto ipv6") if mesh.snat else ("ip saddr @snat4", "ip6 saddr @snat6")
    )
    to_mesh6 = f"oifname {device} {of_nodes6} snat ip6 to {own.address6}"
    return {
        **({} if mesh.snat else mesh_marks.chains(device)),
        **late_replies.chains(),
        "guard": NftChain(
            hook="type filter hook prerouting priority -320; policy accept;",
            rules=('iifname != "lo" ip daddr 127.0.0.0/8 drop', 'iifname != "lo" ip saddr 127.0.0.0/8 drop'),
        ),
        "enter": NftChain(
            hook="type nat hook prerouting priority -100; policy accept;",
            rules=(
                f"iifname {device} dnat ip to ip daddr map @local4",
                f"iifname {device} dnat ip6 to ip6 daddr map @local6",
                *enter,
            ),
        ),
        "own": NftChain(hook="type nat hook output priority -100; policy accept;", rules=enter),
        "refuse": NftChain(
            hook="type filter hook input priority 0; policy accept;",
            rules=(
                f"meta nfproto . meta l4proto . th dport @{_REFUSED} meta l4proto tcp reject with tcp reset",
                f"meta nfproto . meta l4proto . th dport @{_REFUSED} reject",
            ),
        ),
        # The container's MTU is the host's, and the tunnel carries less. Path MTU discovery may be blocked on the way.
        "clamp": NftChain(
            hook="type filter hook forward priority 0; policy accept;",
            rules=(
                f"oifname {device} tcp flags syn tcp option maxseg size set rt mtu",
                f"iifname {device} ip version 4 tcp flags syn tcp option maxseg size set {mesh.mtu - 40}",
                f"iifname {device} ip6 version 6 tcp flags syn tcp option maxseg size set {mesh.mtu - 60}",
            ),
        ),
        "leave": NftChain(
            hook="type nat hook postrouting priority 100; policy accept;",
            rules=(
                "ct status & dnat == dnat ip saddr 127.0.0.0/8 masquerade",
                "ct status & dnat == dnat ip saddr . ip daddr @hairpin4 masquerade",
                "ct status & dnat == dnat ip6 saddr . ip6 daddr @hairpin6 masquerade",
                f"oifname {device} {of_nodes4} snat ip to {own.address}",
                *((to_mesh6,) if own.address6 else ()),
            ),
        ),
    }
