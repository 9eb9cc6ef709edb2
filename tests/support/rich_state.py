"""A fragment with items of every kind in three namespaces, and commands that remove, alter and add single items."""

from __future__ import annotations

from typing import NamedTuple

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
    PolicyRule,
    Route,
    VethPeer,
)
from agent.network.plan.items import REPLICATION_MAC, Item, Value
from tests.support.reconciled_namespaces import CONTAINER, NETWORK

TABLE = "inet cvt-ports"
MAC = "02:42:00:00:00:0{}"
_NFT = NftTable(
    chains={
        "prerouting": NftChain(
            hook="type nat hook prerouting priority dstnat; policy accept;",
            rules=(
                "meta l4proto { tcp, udp, sctp } dnat ip to meta l4proto . th dport map @ports",
                'iifname vmap @ways comment "by device"',
            ),
        ),
        "sub": NftChain(rules=("counter accept",)),
        "alone": NftChain(
            hook="type filter hook input priority 5; policy accept;", rules=("meta mark 0x0000beef drop",)
        ),
    },
    sets={
        "ports": NftSet(
            head="type inet_proto . inet_service : ipv4_addr . inet_service;",
            is_map=True,
            elements={"tcp . 80": "172.30.0.2 . 8080", "sctp . 81": "172.30.0.3 . 81"},
        ),
        "ways": NftSet(head="type ifname : verdict;", is_map=True, elements={'"eth0"': "jump sub", '"eth1"': "drop"}),
        "marks": NftSet(head="type mark;", elements={"0x0000000a": "", "11": ""}),
        "hosts6": NftSet(head="type ipv6_addr; size 1024;", elements={"fd00:0:0::5": ""}),
        "ranges": NftSet(head="type ipv4_addr; flags interval;", elements={"10.0.0.0/8": "", "11.0.0.1-11.0.0.9": ""}),
    },
)
RICH: Fragment = {
    HOST: NamespaceState(
        links={
            "cvt0": Link(kind="bridge", mac=MAC.format(1), mtu=1400, options={"mcast_snooping": 0}),
            "cv1": Link(
                kind="veth",
                master="cvt0",
                mtu=1400,
                peer=VethPeer(namespace=CONTAINER, name="eth0", mac=MAC.format(2), mtu=1400),
                port_options={"isolated": 1, "hairpin_mode": 1},
            ),
        },
        addresses=frozenset({("cvt0", "172.30.0.1/24"), ("cvt0", "fd00:1::1/64")}),
        routes=frozenset(
            {
                Route(destination="10.9.0.0/16", gateway="172.30.0.7", table=77, mtu=1300),
                Route(destination="10.8.0.5/32", device="cvt0", source="172.30.0.1", metric=5),
                Route(destination="fd09::/64", device="cvt0"),
                Route(destination="default", family=6, gateway="fd00:1::9", table=77),
                Route(destination="10.77.0.0/16", kind="unreachable"),
            }
        ),
        rules=frozenset(
            {
                PolicyRule(priority=70, table=77, mark=5),
                PolicyRule(priority=71, table=77, family=6, input_device="cvt0"),
                PolicyRule(priority=73, goto=74),
                PolicyRule(priority=72, table=77, source="10.3.0.0/16", mark=1, mask=0xFF),
            }
        ),
        neighbours=frozenset(
            {Neighbour("cvt0", "172.30.0.9", MAC.format(9)), Neighbour("cvt0", "fd00:1::9", MAC.format(9))}
        ),
        fdb=frozenset({FdbEntry("cv1", MAC.format(2))}),
        sysctls={
            "net/ipv4/ip_forward": "1",
            "net/ipv4/conf/cvt0/rp_filter": "2",
            "net/ipv4/ip_local_port_range": "20000 30000",
        },
        tables={TABLE: _NFT},
    ),
    CONTAINER: NamespaceState(
        links={"eth0": Link(kind="veth", mac=MAC.format(2), mtu=1400), "lo": Link()},
        addresses=frozenset({("eth0", "172.30.0.2/24"), ("eth0", "fd00:1::2/64")}),
        routes=frozenset(
            {
                Route(destination="default", gateway="172.30.0.1"),
                Route(destination="default", family=6, gateway="fd00:1::1"),
            }
        ),
        tables={
            "ip covey": NftTable(
                chains={"out": NftChain(hook="type nat hook output priority -100;", rules=("accept",))}
            )
        },
    ),
    NETWORK: NamespaceState(
        links={
            "br0": Link(kind="bridge"),
            "vxlan0": Link(
                kind="vxlan",
                made_in=HOST,
                master="br0",
                options={"vxlan_id": 4099, "local": "127.0.0.1", "port": 4789, "learning": 0, "proxy": 1},
                port_options={"learning": 0},
            ),
            "m0": Link(kind="macvlan", parent="br0", options={"mode": "bridge"}),
        },
        fdb=frozenset(
            {
                FdbEntry("vxlan0", MAC.format(5), "10.1.1.1"),
                FdbEntry("vxlan0", MAC.format(5)),
                FdbEntry("vxlan0", REPLICATION_MAC, "10.1.1.2"),
                FdbEntry("vxlan0", REPLICATION_MAC, "10.1.1.3"),
            }
        ),
        neighbours=frozenset({Neighbour("vxlan0", "10.0.0.5", MAC.format(5))}),
        sysctls={"net/ipv6/conf/default/disable_ipv6": "1"},
    ),
}


class Mutation(NamedTuple):
    """A command in a namespace, and the item that differs afterwards."""

    namespace: str
    command: str
    item: Item


def removal(namespace: str, item: Item, value: Value) -> Mutation:
    """Take one item away; where the kernel allows only that, change it."""
    return Mutation(namespace, _removal(item, value), item)


def _removal(item: Item, value: Value) -> str:
    kind = item[0]
    if kind == "link":
        return "ip link set lo down" if item[1] == "lo" else f"ip link delete {item[1]}"
    if kind == "address":
        return f"ip address delete {item[2]} dev {item[1]}"
    if kind == "route":
        way = f"{value.kind} " if isinstance(value, Route) and value.kind != "unicast" else ""
        return f"ip -{item[1]} route delete {way}{item[3]} table {item[2]}"
    if kind == "rule":
        return f"ip -{item[1]} rule delete priority {int(item[2])}"
    if kind == "neighbour":
        return f"ip neigh delete {item[2]} dev {item[1]}"
    if kind == "fdb":
        return f"bridge fdb delete {item[2]} dev {item[1]} " + ("master" if item[3] == "port" else f"self dst {value}")
    if kind == "sysctl":
        other = "30000 40000" if item[1].endswith("range") else "0"
        return f"echo {other} > /proc/sys/{item[1]}"
    if kind == "table":
        return f"nft delete table {item[1]}"
    if kind == "chain":
        return f"nft flush chain {item[1]} {item[2]}"
    if kind == "set":  # one that rules use cannot go, so the chain that uses it goes first
        user = f"nft flush chain {item[1]} prerouting;" if item[2] in {"ports", "ways"} else ""
        return f"{user} nft delete {'map' if isinstance(value, NftSet) and value.is_map else 'set'} {item[1]} {item[2]}"
    return f"nft delete element {item[1]} {item[2]} '{{ {item[3]} }}'"


ALTERATIONS = (
    Mutation(HOST, "ip link set cvt0 mtu 1300", ("link", "cvt0")),
    Mutation(HOST, "ip link set cvt0 address 02:00:00:00:00:77", ("link", "cvt0")),
    Mutation(HOST, "ip link set cvt0 down", ("link", "cvt0")),
    Mutation(HOST, "ip link set cvt0 type bridge mcast_snooping 1", ("link", "cvt0")),
    Mutation(HOST, "ip link set cv1 nomaster", ("link", "cv1")),
    Mutation(HOST, "bridge link set dev cv1 isolated off", ("link", "cv1")),
    Mutation(
        HOST,
        "ip link delete cvt0; ip link add cvt0 type veth peer name other1; ip link set cvt0 alias 'covey cvt'",
        ("link", "cvt0"),
    ),
    Mutation(CONTAINER, "ip link set eth0 name eth7", ("link", "eth0")),
    Mutation(CONTAINER, "ip link set eth0 down", ("link", "eth0")),
    Mutation(NETWORK, "ip link delete vxlan0; ip link add vxlan0 type vxlan id 7 dstport 4789", ("link", "vxlan0")),
    Mutation(NETWORK, "ip link set m0 type macvlan mode vepa", ("link", "m0")),
    Mutation(HOST, "ip route change 10.9.0.0/16 via 172.30.0.8 table 77", ("route", "4", "77", "10.9.0.0/16", "0")),
    Mutation(HOST, "ip route change 10.8.0.5/32 dev cvt0 metric 5", ("route", "4", "254", "10.8.0.5/32", "5")),
    Mutation(
        HOST,
        f"ip neigh replace 172.30.0.9 lladdr {MAC.format(8)} dev cvt0 nud permanent",
        ("neighbour", "cvt0", "172.30.0.9"),
    ),
    Mutation(
        NETWORK,
        f"bridge fdb replace {MAC.format(5)} dev vxlan0 self dst 10.1.1.9",
        ("fdb", "vxlan0", MAC.format(5), "tunnel"),
    ),
    Mutation(HOST, f"nft add rule {TABLE} sub drop", ("chain", TABLE, "sub")),
    Mutation(HOST, f"nft insert rule {TABLE} prerouting accept", ("chain", TABLE, "prerouting")),
    Mutation(HOST, f"nft chain {TABLE} alone '{{ policy drop; }}'", ("chain", TABLE, "alone")),
    Mutation(
        HOST,
        f"nft 'delete element {TABLE} ports {{ tcp . 80 }}; add element {TABLE} ports {{ tcp . 80 : 9.9.9.9 . 80 }}'",
        ("element", TABLE, "ports", "tcp . 80"),
    ),
    Mutation(
        HOST, f"nft 'delete set {TABLE} hosts6; add set {TABLE} hosts6 {{ type ipv6_addr; }}'", ("set", TABLE, "hosts6")
    ),
    Mutation(CONTAINER, "nft flush ruleset", ("chain", "ip covey", "out")),
)
STRAYS = (
    Mutation(HOST, "ip link add cvt9 type bridge; ip link set cvt9 alias 'covey cvt'", ("link", "cvt9")),
    Mutation(HOST, "ip address add 172.31.0.1/24 dev cvt0", ("address", "cvt0", "172.31.0.1/24")),
    Mutation(HOST, "ip address add fd00:7::1/64 dev cvt0 nodad", ("address", "cvt0", "fd00:7::1/64")),
    Mutation(HOST, "ip route add 10.66.0.0/16 dev cvt0 proto 192 table 78", ("route", "4", "78", "10.66.0.0/16", "0")),
    Mutation(HOST, "ip route add fd66::/64 dev cvt0 proto 192", ("route", "6", "254", "fd66::/64", "1024")),
    Mutation(
        HOST,
        "ip rule add priority 90 fwmark 9 lookup 78 protocol 192",
        ("rule", "4", "00090", "table 78", "9/4294967295", "", ""),
    ),
    Mutation(
        HOST,
        f"ip neigh add 172.30.0.99 lladdr {MAC.format(9)} dev cvt0 nud permanent",
        ("neighbour", "cvt0", "172.30.0.99"),
    ),
    Mutation(HOST, f"bridge fdb add {MAC.format(7)} dev cv1 master static", ("fdb", "cv1", MAC.format(7), "port")),
    Mutation(HOST, "nft add table inet cvt-old", ("table", "inet cvt-old")),
    Mutation(HOST, f"nft 'add chain {TABLE} extra; add rule {TABLE} extra drop'", ("chain", TABLE, "extra")),
    Mutation(HOST, f"nft 'add set {TABLE} spare {{ type mark; elements = {{ 1 }}; }}'", ("set", TABLE, "spare")),
    Mutation(
        HOST, f"nft 'add element {TABLE} ports {{ udp . 9 : 1.1.1.1 . 9 }}'", ("element", TABLE, "ports", "udp . 9")
    ),
    Mutation(NETWORK, "ip link add stray0 type bridge", ("link", "stray0")),
    Mutation(NETWORK, "ip address add 10.0.0.9/24 dev br0", ("address", "br0", "10.0.0.9/24")),
    Mutation(
        NETWORK,
        f"bridge fdb append {REPLICATION_MAC} dev vxlan0 self dst 10.1.1.8",
        ("fdb", "vxlan0", REPLICATION_MAC, "10.1.1.8"),
    ),
    Mutation(NETWORK, "nft add table inet foreign", ("table", "inet foreign")),
)
FOREIGN = """
ip link add other0 type bridge; ip address add 192.168.77.1/24 dev other0; ip link set other0 up
ip route add 10.200.0.0/16 dev other0
ip rule add priority 300 fwmark 3 lookup 300
ip neigh add 192.168.77.5 lladdr 02:00:00:00:00:05 dev other0 nud permanent
nft 'add table inet other; add chain inet other c; add rule inet other c accept'
"""
"""Things of others on the host, which Covey neither reports nor touches."""
