"""Fragments of the way out of containers on overlay networks."""

from agent.network.namespace_state import HOST, Neighbour, Route, container_key
from agent.network.plan.gateway import HOST_MAC, GatewayPort, host_device, plan_gateway, plan_gateway_port, table_name

ID = "c" * 64
MAC = "02:42:ac:12:00:02"
PORT = GatewayPort(container_id=ID, interface="eth1", mac=MAC, addresses=("172.18.0.2", "fd00::2"), gateways=("172.18.0.1", "fd00::1"))  # fmt: skip


def test_the_host_routes_each_container_by_a_link_of_its_own_and_both_ends_know_the_other():
    fragment = plan_gateway_port(PORT, "covey0")
    outer = host_device(ID, "eth1")
    host, container = fragment[HOST], fragment[container_key(ID)]
    assert host.links[outer].master == ""
    assert host.addresses == {(outer, "172.18.0.1/32"), (outer, "fd00::1/128")}
    assert host.routes == {
        Route(destination="172.18.0.2/32", device=outer),
        Route(destination="fd00::2/128", family=6, device=outer),
    }
    assert host.neighbours == {Neighbour(outer, "172.18.0.2", MAC), Neighbour(outer, "fd00::2", MAC)}
    assert container.addresses == {("eth1", "172.18.0.2/32"), ("eth1", "fd00::2/128")}
    assert Route(destination="172.18.0.1/32", device="eth1") in container.routes
    assert Neighbour("eth1", "172.18.0.1", HOST_MAC) in container.neighbours


def test_containers_do_not_reach_one_another_and_are_masqueraded_only_to_the_outside():
    table = plan_gateway("covey0", ("172.18.0.0/16",))[HOST].tables[table_name("covey0")]
    assert table.chains["forward"].rules[-2:] == ("ct status dnat accept", "drop")
    assert table.chains["postrouting"].rules[0] == "ip saddr @subnets4 oifname != @ports masquerade"
    assert table.sets["subnets4"].elements == {"172.18.0.0/16": ""}
    port = plan_gateway_port(PORT, "covey0")[HOST].tables[table_name("covey0")]
    assert port.sets["ports"].head == table.sets["ports"].head
    assert list(port.sets["ports"].elements) == [f'"{host_device(ID, "eth1")}"']
