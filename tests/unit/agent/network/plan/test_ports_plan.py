"""Published ports as map elements, and what lets replies come back through the host."""

from agent.network.namespace_state import HOST
from agent.network.plan.ports import ForwardTarget, PortForward, plan

BRIDGE = ForwardTarget(device="br-1", subnets=("172.18.0.0/16", "fd00:1::/64"))


def forward(address: str, port: int = 8080, protocol: str = "tcp", target: str = "172.18.0.2") -> PortForward:
    return PortForward(protocol=protocol, host_address=address, host_port=port, target_address=target, target_port=80)


def elements(*forwards: PortForward) -> dict[str, dict[str, str]]:
    (table,) = plan("covey0", forwards, BRIDGE)[HOST].tables.values()
    return {name: dict(item.elements) for name, item in table.sets.items() if item.elements}


def test_a_port_on_all_addresses_is_found_by_protocol_and_number() -> None:
    found = elements(forward("0.0.0.0"), forward("::", target="fd00:1::2"), forward("0.0.0.0", 53, "udp"))
    assert found["any4"] == {"tcp . 8080": "172.18.0.2 . 80", "udp . 53": "172.18.0.2 . 80"}
    assert found["any6"] == {"tcp . 8080": "fd00:1::2 . 80"}
    assert "at4" not in found


def test_a_port_on_one_address_is_found_by_that_address_only() -> None:
    found = elements(forward("127.0.0.1"), forward("2001:db8::1", target="fd00:1::2"))
    assert found["at4"] == {"tcp . 127.0.0.1 . 8080": "172.18.0.2 . 80"}
    assert found["at6"] == {"tcp . 2001:db8::1 . 8080": "fd00:1::2 . 80"}
    assert "any4" not in found


def test_clients_of_the_containers_own_subnet_come_back_through_the_host() -> None:
    found = elements(forward("0.0.0.0"))
    assert found["hairpin4"] == {"172.18.0.0/16 . 172.18.0.0/16": ""}
    assert found["hairpin6"] == {"fd00:1::/64 . fd00:1::/64": ""}


def test_the_hosts_loopback_may_leave_through_the_containers_device_and_ipv6_is_forwarded_only_if_needed() -> None:
    assert plan("covey0", [forward("0.0.0.0")], BRIDGE)[HOST].sysctls == {
        "net/ipv4/ip_forward": "1",
        "net/ipv4/conf/br-1/route_localnet": "1",
    }
    assert "net/ipv6/conf/all/forwarding" in plan("c", [forward("::", target="fd00:1::2")], BRIDGE)[HOST].sysctls


def test_a_container_without_published_ports_needs_nothing() -> None:
    assert plan("covey0", [], BRIDGE) == {}
