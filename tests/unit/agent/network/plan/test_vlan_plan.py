"""Fragments of macvlan and ipvlan networks."""

from agent.network.namespace_state import HOST, Link, container_key
from agent.network.plan.vlan import VlanNetwork, VlanPort, plan_parent, plan_port, plan_probe

ID = "c" * 64
PORT = VlanPort(container_id=ID, interface="eth0", mac="02:42:0a:00:00:02", addresses=("10.0.0.2/24",))


def link(**settings: str) -> Link:
    network = VlanNetwork(id="1" * 64, **settings)  # type: ignore[arg-type]
    return plan_port(PORT, network)[container_key(ID)].links["eth0"]


def test_an_interface_is_made_on_its_parent_and_lives_in_the_container():
    found = link(driver="macvlan", parent="eth7", mode="vepa")
    assert (found.kind, found.parent, found.made_in, found.options) == ("macvlan", "eth7", HOST, {"mode": "vepa"})
    assert found.mac == PORT.mac
    found = link(driver="ipvlan", parent="eth7", mode="l3", flag="private")
    assert (found.kind, found.options, found.mac) == ("ipvlan", {"mode": "l3", "flag": "private"}, "")


def test_a_parent_of_the_host_is_left_alone_and_a_vlan_or_an_internal_one_is_made():
    assert plan_parent(VlanNetwork(id="1" * 64, driver="macvlan", parent="eth7"), "p") is None
    made = plan_parent(VlanNetwork(id="1" * 64, driver="macvlan", parent="eth7.50"), "p")
    assert made is not None
    assert made[HOST].links == {"eth7.50": Link(kind="vlan", parent="eth7", options={"vlan_id": 50})}
    internal = plan_parent(VlanNetwork(id="1" * 64, driver="macvlan"), "p")
    assert internal is not None
    assert list(internal[HOST].links) == ["dm-111111111111"]
    assert link(driver="macvlan").parent == "dm-111111111111"


def test_a_probe_is_an_interface_on_the_parent_without_a_container():
    probe = plan_probe(VlanNetwork(id="1" * 64, driver="ipvlan", parent="eth7", mode="l2", flag="bridge"))[HOST]
    assert probe.links == {
        "cv111111111111": Link(
            kind="ipvlan", up=False, parent="eth7", made_in=HOST, options={"mode": "l2", "flag": "bridge"}
        )
    }
