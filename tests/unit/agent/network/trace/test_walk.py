"""Walks over simulated hosts: what the planners want for two hosts is taken for what the kernels hold, and broken item by item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
import pytest

from agent.network.namespace_state import (
    HOST,
    Fragment,
    Link,
    NamespaceState,
    Route,
    container_key,
    network_key,
)
from agent.network.plan import overlay, ports, vips
from agent.network.plan.balance import balance
from agent.network.plan.items import Item, Items, flatten, unflatten
from agent.network.plan.names import port_name
from agent.network.trace.model import (
    Attachment,
    Endpoint,
    Host,
    Question,
    State,
    Trace,
    TracedNetwork,
    TracedService,
    View,
)
from agent.network.trace.overlays import addresses_in
from agent.network.trace.ports import port_in
from agent.network.trace.reading import HostReading, NamespaceReading, decode, encode
from agent.network.trace.resolve import needed
from agent.network.trace.walk import walk

HOSTS = {"one": "192.0.2.1", "two": "192.0.2.2"}
SHOP = TracedNetwork(id="shop-id", name="shop", overlay=True, vni=4097)
PLACES = {"caller": ("one", "10.0.1.5", "02:42:0a:00:01:05"), "web": ("two", "10.0.1.6", "02:42:0a:00:01:06")}
VIP = "10.0.1.2"
QUESTION = Question(source="caller", target="web-service", port=80)


def shop(host: str) -> overlay.Overlay:
    return overlay.Overlay(
        id=SHOP.id,
        prefix="cv",
        vni=SHOP.vni,
        mtu=1450,
        host=HOSTS[host],
        port=4789,
        mac="02:42:00:00:00:01",
        gateways=("10.0.1.1/24",),
    )


def fragments(host: str) -> Iterator[Fragment]:
    """What a host wants."""
    yield {HOST: NamespaceState(links={"eth0": Link()}, addresses=frozenset({("eth0", f"{HOSTS[host]}/24")}))}
    yield overlay.network(shop(host))
    yield vips.base(SHOP.id, ipv6=False)
    yield vips.service(
        SHOP.id, [vips.Vip(service_id="web-id", address=VIP, backends=(PLACES["web"][1],), host=HOSTS[host])]
    )
    for name, (where, address, mac) in PLACES.items():
        if where == host:
            yield overlay.interface(
                shop(host),
                overlay.OverlayInterface(container_id=name, name="eth0", mac=mac, addresses=(f"{address}/24",)),
            )
        else:
            yield overlay.remote_endpoint(
                shop(host), overlay.OverlayEndpoint(address=address, mac=mac, host=HOSTS[where])
            )


def kernels(host: str) -> dict[str, Items]:
    """The items of a host's namespaces, as if a kernel held them."""
    found: dict[str, Items] = {}
    for fragment in fragments(host):
        for key, state in fragment.items():
            found.setdefault(key, {}).update(flatten(state))
    return found


def view(states: Mapping[str, Mapping[str, Items]]) -> View:
    return View(
        hosts={
            name: Host(name=name, address=HOSTS[name], node_id=f"{name}-id", reading=reading(namespaces))
            for name, namespaces in states.items()
        },
        networks={SHOP.id: SHOP},
        endpoints=tuple(
            Endpoint(
                name=name,
                container_id=name,
                host=host,
                attachments=(Attachment(network=SHOP.id, addresses=(address,), mac=mac),),
                service="web-id" if name == "web" else "",
            )
            for name, (host, address, mac) in PLACES.items()
        ),
        services=(TracedService(id="web-id", name="web-service", vips={SHOP.id: (VIP,)}, published=("tcp 8080",)),),
    )


def reading(namespaces: Mapping[str, Items]) -> HostReading:
    found = {}
    for key, items in namespaces.items():
        state = unflatten(items)
        connected = {
            (device, ".".join(text.split(".")[:3]) + ".0/24")
            for device, text in state.addresses
            if text.endswith("/24")
        }
        found[key] = NamespaceReading(
            state=state, listeners=frozenset({"tcp :: 80"}) if key == container_key("web") else None,
            connected=frozenset(connected),
        )  # fmt: skip
    return HostReading(prefix="cv", namespaces=found)


def cluster() -> dict[str, dict[str, Items]]:
    return {host: kernels(host) for host in HOSTS}


def asked(states: Mapping[str, Mapping[str, Items]], question: Question = QUESTION) -> Trace:
    return walk(view(states), question)


def ends(trace: Trace) -> list[tuple[str, str, str]]:
    return [(one.host, one.namespace, one.step) for one in trace.hops if one.state is State.BROKEN]


def test_a_whole_path_arrives_and_passes_both_hosts() -> None:
    found = asked(cluster())
    assert (found.reached, ends(found), found.missing) == (True, [], frozenset())
    assert {(one.host, one.namespace.partition("/")[0]) for one in found.hops} == {
        (host, kind) for host in HOSTS for kind in ("host", "network", "container")
    }
    steps = [one.step for one in found.hops]
    assert steps.index("VIP") < steps.index("forwarding") < steps.index("underlay") < steps.index("socket")


PORT = {name: port_name(name, "eth0") for name in PLACES}
ESSENTIAL: dict[tuple[str, str], tuple[Item, ...]] = {
    ("one", container_key("caller")): (("link", "eth0"), ("address", "eth0", "10.0.1.5/24")),
    ("one", network_key(SHOP.id)): (
        ("link", PORT["caller"]),
        ("link", "br0"),
        ("link", "vxlan0"),
        ("address", "br0", f"{VIP}/32"),
        ("element", vips.TABLE, "vips4", VIP),
        ("chain", vips.TABLE, "vip4-web-id"),
        ("neighbour", "br0", "10.0.1.6"),
        ("neighbour", "vxlan0", "10.0.1.6"),
        ("fdb", "vxlan0", "02:42:0a:00:01:06", "tunnel"),
        ("fdb", "vxlan0", "02:42:0a:00:01:06", "port"),
        ("fdb", PORT["caller"], "02:42:0a:00:01:05", "port"),
        ("sysctl", "net/ipv4/ip_forward"),
    ),
    ("one", HOST): (
        ("link", "eth0"),
        ("address", "eth0", "192.0.2.1/24"),
        ("element", "inet cv-members", "members4", "192.0.2.2 . 4097"),
    ),
    ("two", HOST): (
        ("link", "eth0"),
        ("address", "eth0", "192.0.2.2/24"),
        ("element", "inet cv-members", "members4", "192.0.2.1 . 4097"),
    ),
    ("two", network_key(SHOP.id)): (
        ("link", PORT["web"]),
        ("link", "br0"),
        ("link", "vxlan0"),
        ("fdb", PORT["web"], "02:42:0a:00:01:06", "port"),
        ("fdb", "vxlan0", "02:42:0a:00:01:05", "tunnel"),
        ("fdb", "vxlan0", "02:42:0a:00:01:05", "port"),
    ),
    ("two", container_key("web")): (("link", "eth0"), ("address", "eth0", "10.0.1.6/24")),
}
CASES = [(host, key, item) for (host, key), items in ESSENTIAL.items() for item in items]


@pytest.mark.parametrize(("host", "key", "item"), CASES)
def test_each_item_that_a_path_needs_is_named_when_it_is_gone(host: str, key: str, item: Item) -> None:
    states = cluster()
    del states[host][key][item]
    found = asked(states)
    assert not found.reached
    (end,) = ends(found)
    assert end[0] == host, (end, found.hops[-1])
    assert all(one.reason and one.remedy for one in found.hops if one.state is State.BROKEN)


@pytest.mark.parametrize(("host", "key", "item"), [case for case in CASES if case[2][0] == "link"])
def test_each_device_that_is_down_is_named(host: str, key: str, item: Item) -> None:
    states = cluster()
    link = states[host][key][item]
    assert isinstance(link, Link)
    states[host][key][item] = msgspec.structs.replace(link, up=False)
    found = asked(states)
    (end,) = ends(found)
    assert end[:2] == (host, key)
    assert any("down" in one.reason for one in found.hops)


def test_no_other_item_matters_and_none_breaks_the_walk() -> None:
    essential = set(CASES)
    for host, namespaces in cluster().items():
        for key, items in namespaces.items():
            for item in items:
                states = cluster()
                del states[host][key][item]
                found = asked(states)
                needs = (host, key, item) in essential or item[0] in {"table", "set"}
                assert found.reached or needs, (host, key, item, found.hops[-1])


def test_a_wrong_host_id_or_mac_is_named() -> None:
    key = network_key(SHOP.id)
    for item, value, step in (
        (("fdb", "vxlan0", "02:42:0a:00:01:06", "tunnel"), "192.0.2.1", "forwarding"),
        (("neighbour", "br0", "10.0.1.6"), "02:00:00:00:00:09", "neighbour"),
        (("link", "vxlan0"), Link(kind="vxlan", master="br0", options={"vxlan_id": 9}), "tunnel"),
    ):
        states = cluster()
        states["one"][key][item] = value
        assert ends(asked(states)) == [("one", key, step)]


def test_a_host_that_lost_its_address_is_named_with_it() -> None:
    states = cluster()
    del states["two"][HOST]["address", "eth0", "192.0.2.2/24"]
    found = asked(states)
    assert ends(found) == [("two", HOST, "tunnel end")]
    assert found.hops[-1].reason == "two does not have 192.0.2.2: no known host has it"


def test_policy_routes_and_black_holes_are_obeyed() -> None:
    states = cluster()
    route = Route(destination="192.0.2.2/32", kind="blackhole")
    states["one"][HOST] |= flatten(NamespaceState(routes=frozenset({route})))
    found = asked(states)
    assert ends(found) == [("one", HOST, "underlay")]
    assert "blackhole" in found.hops[-1].reason


def test_a_published_port_leads_to_the_container_and_is_named_without_its_rule() -> None:
    states = cluster()
    forward = ports.PortForward(
        protocol="tcp", host_address="0.0.0.0", host_port=8080, target_address="172.18.0.9", target_port=80  # noqa: S104
    )  # fmt: skip
    for key, state in ports.plan("cv", [forward], ports.ForwardTarget(device="pair")).items():
        states["two"].setdefault(key, {}).update(flatten(state))
    pair = port_name("web", "eth1")
    states["two"][HOST] |= flatten(
        NamespaceState(
            links={pair: Link(kind="veth")},
            routes=frozenset({Route(destination="172.18.0.9/32", device=pair)}),
            neighbours=frozenset(),
        )
    )
    states["two"][HOST]["neighbour", pair, "172.18.0.9"] = "02:42:ac:12:00:09"
    states["two"][container_key("web")] |= flatten(
        NamespaceState(links={"eth1": Link(kind="veth")}, addresses=frozenset({("eth1", "172.18.0.9/32")}))
    )
    question = Question(source="outside@two", target="two", port=8080)
    assert asked(states, question).reached
    del states["two"][HOST]["element", "inet cv-ports", "any4", "tcp . 8080"]
    found = asked(states, question)
    assert ends(found) == [("two", HOST, "published port")]
    assert found.hops[-1].reason == "port 8080/tcp of the service web-service leads nowhere on two"


def test_a_host_without_a_reading_ends_the_path() -> None:
    known = view(cluster())
    silent = msgspec.structs.replace(known.hosts["two"], reading=None, error="is down")
    found = walk(msgspec.structs.replace(known, hosts={**known.hosts, "two": silent}), QUESTION)
    assert ends(found)[-1][0] == "two"
    assert found.hops[-1].reason == "host two is down"


def test_what_must_be_read_is_the_source_and_all_that_the_target_may_be() -> None:
    assert needed(view(cluster()), QUESTION) == {
        "one": {HOST, network_key(SHOP.id), container_key("caller")},
        "two": {HOST, network_key(SHOP.id), container_key("web")},
    }
    outside = needed(view(cluster()), Question(source="outside@one", target="one", port=8080))
    assert outside["one"] == {HOST}
    assert container_key("web") in outside["two"]


def test_a_reading_survives_the_wire() -> None:
    found = reading(kernels("one"))
    assert decode(encode(found)) == found


@pytest.mark.parametrize("port", [0, 80])
@pytest.mark.parametrize("addresses", [("10.0.1.5",), ("10.0.1.5", "10.0.1.6"), ("fd00::5",), ("fd00::5", "fd00::6")])
def test_the_backends_of_a_rule_are_read_back(addresses: tuple[str, ...], port: int) -> None:
    rule = balance("meta l4proto tcp", addresses, "seed", port)
    assert set(addresses_in((rule,))) == set(addresses)
    if port:
        assert port_in((rule,)) == port
