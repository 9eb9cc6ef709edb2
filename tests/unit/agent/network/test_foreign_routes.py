"""Routes of the host that networks of the cluster avoid."""

from agent.network.foreign_routes import MAX_ROUTES, foreign_routes
from agent.network.model import HostRoute


def test_routes_to_containers_and_link_local_ones_are_left_out() -> None:
    found = foreign_routes(
        [
            HostRoute("192.168.5.0/24", "eth0"),
            HostRoute("10.8.0.0/16", "tun0"),
            HostRoute("172.17.0.0/16", "docker0"),
            HostRoute("172.18.0.0/16", "covey0"),
            HostRoute("172.19.0.2/32", "cv0123456789ab"),
            HostRoute("169.254.0.0/16", "eth0"),
            HostRoute("2001:db8::/64", "eth0"),
            HostRoute("fe80::/64", "eth0"),
        ]
    )
    assert [(route.destination, route.device) for route in found] == [
        ("10.8.0.0/16", "tun0"),
        ("192.168.5.0/24", "eth0"),
        ("2001:db8::/64", "eth0"),
    ]


def test_a_router_with_very_many_routes_sends_a_bounded_number() -> None:
    routes = [HostRoute(f"10.{at >> 8}.{at & 255}.0/24", "eth0") for at in range(2_000)]
    assert len(foreign_routes(routes)) == MAX_ROUTES
