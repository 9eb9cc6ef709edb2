"""The routing mesh of a node: what it publishes, where it sends it, and what a change costs."""

from ipaddress import IPv4Address
from typing import Any

import pytest

from agent.network.mesh_state import MeshHost, MeshState
from agent.network.namespace_state import HOST, FdbEntry, Fragment, NamespaceState, NftTable, Route
from agent.network.plan.encryption import node_address
from agent.network.plan.mesh_model import LocalTask
from covey.objects import IPAM, Driver, IPAMConfig, Network, NetworkSpec, PortConfig
from covey.objects.assignment import AssignmentChange, AssignmentKind, NetworkEndpoint, NodeEndpoint, VirtualService
from covey.objects.node import WireGuardDescription
from covey.states import Protocol

K = AssignmentKind
FIRST = IPv4Address("10.0.0.0")
NETWORK = Network(
    id="ing",
    spec=NetworkSpec(ingress=True),
    ipam=IPAM(configs=(IPAMConfig(subnet="10.0.0.0/24"), IPAMConfig(subnet="fd00:c0::/64"))),
    vni=4095,
    allocated=True,
)


def put(kind: AssignmentKind, item: Any) -> AssignmentChange:
    return AssignmentChange(kind=kind, id=item.id, item=item)


def node(number: int, wireguard: WireGuardDescription | None = None) -> NodeEndpoint:
    return NodeEndpoint(
        id=f"n{number}/ing", network_id="ing", node_id=f"n{number}", host=f"192.0.2.{number}",
        address=f"10.0.0.{number}", address6=f"fd00:c0::{number}", mac=f"02:42:0a:00:00:0{number}", wireguard=wireguard,
    )  # fmt: skip


def task(name: str, on: int, last: int, *, ready: bool = True) -> NetworkEndpoint:
    return NetworkEndpoint(
        id=f"{name}/ing", network_id="ing", task_id=name, node_id=f"n{on}", host=f"192.0.2.{on}",
        address=f"10.0.0.{last}", address6=f"fd00:c0::{last}", service_id="web", ready=ready,
    )  # fmt: skip


WEB = VirtualService(
    id="web/ing", network_id="ing", service_id="web", name="web",
    ports=(PortConfig(target_port=80, published_port=8080), PortConfig(target_port=53, published_port=53, protocol=Protocol.UDP)),
)  # fmt: skip


@pytest.fixture
def state() -> MeshState:
    made = MeshState(MeshHost(prefix="covey0", host="192.0.2.1", container_subnets=("172.18.0.0/16",)))
    made.apply([put(K.NETWORK, NETWORK), put(K.NODE_ENDPOINT, node(1)), put(K.NODE_ENDPOINT, node(2))])
    made.apply([put(K.ENDPOINT, task("t2", 2, 66)), put(K.VIRTUAL_SERVICE, WEB)])
    return made


def host(fragment: Fragment | None) -> NamespaceState:
    assert fragment is not None
    return fragment[HOST]


def table(fragment: Fragment | None) -> NftTable:
    return host(fragment).tables["inet covey0-mesh"]


def rule(fragment: Fragment | None, chain: str) -> str:
    (found,) = table(fragment).chains[chain].rules
    return found


def test_a_node_without_a_task_answers_and_leads_to_the_tasks_node(state: MeshState) -> None:
    found = state.take_changes()
    assert sorted(found) == ["mesh", "mesh/node/n2", "mesh/port/tcp/8080", "mesh/port/udp/53", "mesh/task/t2"]
    assert rule(found["mesh/port/tcp/8080"], "port4-tcp-8080") == "meta l4proto tcp dnat ip to 10.0.0.66:80"
    assert rule(found["mesh/port/tcp/8080"], "port6-tcp-8080") == "meta l4proto tcp dnat ip6 to [fd00:c0::66]:80"
    assert (
        Route(destination="10.0.0.66/32", gateway="10.0.0.2", device="covey0mesh", onlink=True)
        in host(found["mesh/task/t2"]).routes
    )


def test_a_task_of_this_node_is_reached_at_its_container(state: MeshState) -> None:
    state.apply([put(K.ENDPOINT, task("t1", 1, 67))])
    state.take_changes()
    state.set_container("t1", LocalTask(address="172.18.0.5", neighbours=("172.18.0.5",)))
    found = state.take_changes()
    assert sorted(found) == ["mesh/port/tcp/8080", "mesh/port/udp/53", "mesh/task/t1"]
    assert table(found["mesh/task/t1"]).sets["local4"].elements == {"10.0.0.67": "172.18.0.5"}
    assert "172.18.0.5 . 80" in rule(found["mesh/port/tcp/8080"], "port4-tcp-8080")
    assert "10.0.0.66 . 80" in rule(found["mesh/port/tcp/8080"], "port4-tcp-8080")
    state.set_container("t1", None)
    assert state.take_changes()["mesh/task/t1"] is None


def test_only_ready_tasks_get_connections_and_a_port_without_any_refuses(state: MeshState) -> None:
    state.take_changes()
    state.apply([put(K.ENDPOINT, task("t2", 2, 66, ready=False))])
    found = state.take_changes()
    assert table(found["mesh/port/tcp/8080"]).chains == {}
    assert set(table(found["mesh/port/tcp/8080"]).sets["refused"].elements) == {
        "ipv4 . tcp . 8080",
        "ipv6 . tcp . 8080",
    }
    assert host(found["mesh/task/t2"]).routes  # connections that it has go on


def test_a_change_of_the_ports_drops_those_that_are_gone(state: MeshState) -> None:
    state.take_changes()
    state.apply([put(K.VIRTUAL_SERVICE, VirtualService(**{**as_dict(WEB), "ports": WEB.ports[:1]}))])
    assert {key: fragment is None for key, fragment in state.take_changes().items()} == {
        "mesh/port/tcp/8080": False,
        "mesh/port/udp/53": True,
    }
    assert [port.number for port in state.ports()] == [8080]


def test_a_removed_node_takes_the_way_to_its_tasks_with_it(state: MeshState) -> None:
    state.take_changes()
    state.apply([AssignmentChange(kind=K.NODE_ENDPOINT, id="n2/ing")])
    assert state.take_changes() == {"mesh/node/n2": None, "mesh/task/t2": None}


def test_nothing_is_published_before_this_node_has_an_address_and_nothing_stays_after_the_network(
    state: MeshState,
) -> None:
    early = MeshState(MeshHost(prefix="covey0", host="192.0.2.1"))
    early.apply([put(K.NETWORK, NETWORK), put(K.VIRTUAL_SERVICE, WEB), put(K.NODE_ENDPOINT, node(2))])
    assert early.take_changes() == {}
    assert early.ports() == []
    early.apply([put(K.NODE_ENDPOINT, node(1))])
    keys = early.take_changes().keys()
    assert {"mesh", "mesh/node/n2", "mesh/port/tcp/8080"} <= keys
    early.apply([AssignmentChange(kind=K.NETWORK, id="ing")])
    assert early.take_changes() == dict.fromkeys(keys)


def test_another_ingress_network_takes_the_place_of_one_in_a_single_step(state: MeshState) -> None:
    before = state.take_changes()
    new = Network(**{**as_dict(NETWORK), "id": "aaa"})
    nodes = [NodeEndpoint(**{**as_dict(node(n)), "id": f"n{n}/aaa", "network_id": "aaa"}) for n in (1, 2)]
    gone = [AssignmentChange(kind=K.NODE_ENDPOINT, id=f"n{n}/ing") for n in (1, 2)]
    state.apply([AssignmentChange(kind=K.NETWORK, id="ing"), *gone, put(K.NETWORK, new)])
    state.apply([put(K.NODE_ENDPOINT, each) for each in nodes])
    after = state.take_changes()
    assert after["mesh/node/n2"] == before["mesh/node/n2"]
    assert after["mesh/task/t2"] is None


def test_a_thousand_nodes_have_few_rules_on_any_packets_way(state: MeshState) -> None:
    """A packet walks the rules as the kernel does: by priority, and further on where a rule that matches says so."""
    nodes = [
        NodeEndpoint(**{**as_dict(node(3)), "id": f"n{n}/ing", "node_id": f"n{n}", "address": str(FIRST + n)})
        for n in range(3, 1003)
    ]
    wide = Network(**{**as_dict(NETWORK), "ipam": IPAM(configs=(IPAMConfig(subnet="10.0.0.0/16"),))})
    state.apply([put(K.NETWORK, wide), *(put(K.NODE_ENDPOINT, each) for each in nodes)])
    rules = {rule for fragment in state.take_changes().values() for rule in host(fragment).rules if rule.family == 4}

    def walk(mark: int) -> tuple[int, int]:
        """The rules that the packet passes, and the table with a route for it; 0 if it leaves the mesh's rules."""
        passed = at = 0
        for rule in sorted(rules, key=lambda rule: rule.priority):
            if rule.priority < at:
                continue
            passed += 1
            if not rule.input_device and mark & rule.mask == rule.mark:
                at = max(at, rule.goto)
                if rule.table > 0xC00000:
                    return passed, rule.table
        return passed, 0

    assert walk(0) == (4, 0)
    for number in (3, 400, 1002):
        passed, table_found = walk(0xC0000000 | number)
        assert table_found == 0xC00000 + number
        assert passed <= 70


def with_options(**options: str) -> Network:
    return Network(
        **{**as_dict(NETWORK), "spec": NetworkSpec(ingress=True, driver=Driver(name="overlay", options=options))}
    )


def test_with_snat_replies_find_back_by_the_entry_nodes_address_alone(state: MeshState) -> None:
    state.apply([put(K.NETWORK, with_options(**{"covey.mesh.snat": "true"}))])
    found = state.take_changes()
    assert Route(destination="10.0.0.2/32", device="covey0mesh") in host(found["mesh/node/n2"]).routes
    assert all(not host(fragment).rules for fragment in found.values())
    assert 'oifname "covey0mesh" meta nfproto ipv4 snat ip to 10.0.0.1' in table(found["mesh"]).chains["leave"].rules
    chains = table(found["mesh"]).chains
    assert not {"remember-own", "send-back"} & chains.keys()
    assert not any("mark" in rule for chain in chains.values() for rule in chain.rules)


def test_an_encrypted_mesh_leads_through_the_tunnels_to_the_nodes_that_have_keys(state: MeshState) -> None:
    state.take_changes()
    state.apply([put(K.NETWORK, with_options(encrypted=""))])
    found = state.take_changes()
    base = host(found["mesh"])
    assert base.links["covey0mesh"].options["vxlan_local"] == "::"
    assert base.links["covey0mesh"].mtu == 1370
    assert base.tables["inet covey0-encryption"].sets["vnis"].elements == {"0xfff": ""}
    assert found["mesh/node/n2"] is None
    assert table(found["mesh/port/tcp/8080"]).chains == {}
    state.apply([put(K.NODE_ENDPOINT, node(2, WireGuardDescription(public_key="k", port=51820)))])
    found = state.take_changes()
    assert FdbEntry("covey0mesh", node(2).mac, node_address("n2")) in host(found["mesh/node/n2"]).fdb
    assert table(found["mesh/port/tcp/8080"]).chains.keys() == {"port4-tcp-8080", "port6-tcp-8080"}


def test_a_node_that_cannot_encrypt_takes_no_part_in_an_encrypted_mesh_and_says_so(state: MeshState) -> None:
    before = state.take_changes()
    state.set_host(MeshHost(prefix="covey0", host="192.0.2.1", no_encryption="this host has no program wg"))
    assert state.refusal == ""
    state.apply([put(K.NETWORK, with_options(encrypted=""))])
    assert state.take_changes() == dict.fromkeys(before)
    assert state.ports() == []
    assert "because the mesh is encrypted, and this host has no program wg" in state.refusal


def test_assignments_of_other_networks_are_ignored(state: MeshState) -> None:
    state.take_changes()
    other = NetworkEndpoint(**{**as_dict(task("x", 2, 9)), "network_id": "other", "id": "x/other"})
    state.apply(
        [put(K.NETWORK, Network(id="other")), put(K.ENDPOINT, other), AssignmentChange(kind=K.ENDPOINT, id="y/other")]
    )
    assert state.take_changes() == {}


def as_dict(item: Any) -> dict[str, Any]:
    return {name: getattr(item, name) for name in item.__struct_fields__}
