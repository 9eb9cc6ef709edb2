"""Allocation of both address families, several subnets per network, and fixed addresses."""

import ipaddress

from covey.network_options import MAC_OPTION
from covey.objects import (
    IPAM,
    Annotations,
    HostRoute,
    IPAMConfig,
    Network,
    NetworkAttachmentConfig,
    NetworkSpec,
    NodeDescription,
    Task,
    TaskSpec,
    replace,
)
from covey.states import NodeState, TaskState
from manager.allocator.address_pool import AddressPool, parse_address
from manager.allocator.planner import AllocatorPlanner
from manager.allocator.subnets import unique_local_prefix
from tests.support.planning import NOW, changed, in_state, node, removed, service, view_of
from tests.unit.manager.allocator.test_allocation import CLUSTER, addresses, new, settled


def network(*configs: IPAMConfig, ipv6: bool = False, network_id: str = "net") -> Network:
    annotations = Annotations(name=f"name-{network_id}")
    return Network(id=network_id, spec=NetworkSpec(annotations=annotations, ipv6=ipv6, ipam=IPAM(configs=configs)))


def with_fixed(of, *fixed: str):
    target = NetworkAttachmentConfig(target="net", addresses=fixed)
    return replace(of, spec=replace(of.spec, task=replace(of.spec.task, networks=(target,))))


def test_a_network_with_ipv6_and_no_subnet_gets_one_of_the_clusters_own() -> None:
    view = settled(view_of(CLUSTER, network(ipv6=True), network(ipv6=True, network_id="other")))
    subnets = [ipaddress.ip_network(item.ipam.configs[1].subnet) for item in view.networks]
    assert all(subnet.subnet_of(unique_local_prefix("cluster")) and subnet.prefixlen == 64 for subnet in subnets)
    assert len(set(subnets)) == 2
    assert unique_local_prefix("cluster") != unique_local_prefix("another")


def test_an_ipv6_pool_of_the_cluster_is_used() -> None:
    pools = replace(CLUSTER, default_address_pool=("10.0.0.0/8", "fd12:3456::/48"))
    view = settled(view_of(pools, network(ipv6=True)))
    assert (
        view.networks.get("net").ipam.configs[1].subnet == "fd12:3456:0:1::/64"
    )  # the first is for the ingress network


def test_services_and_tasks_have_an_address_of_each_family() -> None:
    web = service(networks=("net",))
    net = network(IPAMConfig(subnet="fd00:9::/64"), IPAMConfig(subnet="10.9.0.0/24"), ipv6=True)
    view = settled(view_of(CLUSTER, net, web, new(web, 1)))
    assert [item.subnet for item in view.networks.get("net").ipam.configs] == ["10.9.0.0/24", "fd00:9::/64"]
    vip = view.services.get("web").endpoint.virtual_ips[0]
    assert (vip.address, vip.address6) == ("10.9.0.2/24", "fd00:9::2/64")
    given = view.tasks.get("web-1").networks[0]
    assert (given.address, given.address6, given.mac) == ("10.9.0.3/24", "fd00:9::3/64", "02:42:0a:09:00:03")


def test_an_ipv6_subnet_of_a_network_without_ipv6_is_left_out() -> None:
    view = settled(view_of(CLUSTER, network(IPAMConfig(subnet="fd00:9::/64"))))
    assert [config.subnet for config in view.networks.get("net").ipam.configs] == ["10.0.1.0/24"]


def test_a_second_subnet_is_used_when_the_first_is_full() -> None:
    web = service(networks=("net",))
    net = network(IPAMConfig(subnet="10.9.0.0/30"), IPAMConfig(subnet="10.9.8.0/29", gateway="10.9.8.6"))
    view = settled(view_of(CLUSTER, net, web, new(web, 1), new(web, 2)))
    assert view.services.get("web").endpoint.virtual_ips[0].address == "10.9.0.2/30"
    assert addresses(view) == ["10.9.8.1/29", "10.9.8.2/29"]


def test_a_range_limits_what_is_drawn_and_not_what_is_fixed() -> None:
    web = service(networks=("net",))
    config = IPAMConfig(
        subnet="10.9.0.0/24",
        ip_range="10.9.0.64/30",
        gateway="10.9.0.65",
        auxiliary_addresses={"router": "10.9.0.64"},
    )
    fixed = with_fixed(service("fixed"), "10.9.0.200")
    view = settled(view_of(CLUSTER, network(config), web, fixed, new(web, 1), new(fixed, 1)))
    drawn = [vip.address for item in view.services for vip in item.endpoint.virtual_ips]
    assert sorted(drawn) == ["10.9.0.66/24", "10.9.0.67/24"]
    assert view.tasks.get("fixed-1").networks[0].address == "10.9.0.200/24"
    error = view.tasks.get("web-1").status.error
    assert error == "could not find an available IP in network name-net: 10.9.0.64/30 is exhausted"


def test_each_slot_has_its_fixed_address_which_nobody_else_gets() -> None:
    web = replace(with_fixed(service("web"), "10.9.0.2", "10.9.0.3", "fd00:9::99"), id="web")
    other = service("other", networks=("net",))
    net = network(IPAMConfig(subnet="10.9.0.0/28"), IPAMConfig(subnet="fd00:9::/64"), ipv6=True)
    view = settled(view_of(CLUSTER, net, web, other, new(other, 1)))
    assert view.tasks.get("other-1").networks[0].address not in {"10.9.0.2/28", "10.9.0.3/28"}
    view = view_of(*view.clusters, *view.networks, *view.services, *view.tasks, new(web, 2), new(web, 1))
    view = settled(view)
    given = {item.slot: item.networks[0] for item in view.tasks.by_service("web")}
    assert {slot: item.address for slot, item in given.items()} == {1: "10.9.0.2/28", 2: "10.9.0.3/28"}
    assert given[1].address6 == "fd00:9::99/64"
    assert given[2].address6.startswith("fd00:9::")


def test_a_successor_gets_its_fixed_address_once_its_predecessor_has_ended() -> None:
    web = with_fixed(service("web"), "10.9.0.2")
    view = view_of(CLUSTER, network(IPAMConfig(subnet="10.9.0.0/28")), web, new(web, 1))
    planner = AllocatorPlanner()
    planner.reset(view)
    view = settled(view, planner)
    successor = new(web, 1, id="web-next")
    view = view_of(*view.clusters, *view.networks, *view.services, *view.tasks, successor)
    planner.observe(None, successor)
    view = settled(view, planner)
    assert view.tasks.get("web-next").status.error == "Address already in use: 10.9.0.2"
    ended = view.tasks.get("web-1")
    view = changed(view, in_state(ended, TaskState.SHUTDOWN))
    planner.observe(ended, view.tasks.get("web-1"))
    view = settled(view, planner)
    assert view.tasks.get("web-next").networks[0].address == "10.9.0.2/28"


def test_a_single_container_has_the_addresses_and_the_mac_that_it_asks_for() -> None:
    target = NetworkAttachmentConfig(
        target="net", addresses=("10.9.0.7", "fd00:9::7"), driver_options={MAC_OPTION: "02:42:00:00:00:99"}
    )
    held = Task(
        id="held",
        node_id="n1",
        spec=TaskSpec(networks=(target,)),
        attached_container_id="c",
        desired_state=TaskState.RUNNING,
    )
    net = network(IPAMConfig(subnet="10.9.0.0/28"), IPAMConfig(subnet="fd00:9::/64"), ipv6=True)
    given = settled(view_of(CLUSTER, net, held)).tasks.get("held").networks[0]
    assert (given.address, given.address6, given.mac) == ("10.9.0.7/28", "fd00:9::7/64", "02:42:00:00:00:99")


def test_addresses_of_a_removed_network_are_forgotten() -> None:
    view = settled(view_of(CLUSTER, network(ipv6=True)))
    planner = AllocatorPlanner()
    planner.reset(view)
    before = view.networks.get("net")
    view = removed(view, before)
    planner.observe(before, None)
    assert planner.plan(view, NOW).steps == ()
    assert planner.index.address_holders() == {}


def on_route(destination: str, device: str = "eth0"):
    return replace(
        node("n1"),
        description=NodeDescription(hostname="east", routes=(HostRoute(destination=destination, device=device),)),
    )


def test_a_chosen_subnet_avoids_the_routes_of_the_nodes() -> None:
    """Seen as: hosts in 10.0.0.0/16, as clouds have them, lost each other once the cluster had its first network."""
    mesh = Network(id="mesh", spec=NetworkSpec(annotations=Annotations(name="ingress"), ingress=True))
    view = settled(view_of(CLUSTER, on_route("10.0.0.0/16"), mesh, network()))
    subnets = {item.id: item.ipam.configs[0].subnet for item in view.networks}
    assert subnets == {"mesh": "10.1.0.0/24", "net": "10.1.1.0/24"}


def test_a_route_that_covers_the_pools_leaves_more_specific_subnets() -> None:
    view = settled(view_of(CLUSTER, on_route("10.0.0.0/8", "tun0"), network()))
    assert view.networks.get("net").ipam.configs[0].subnet == "10.0.1.0/24"


def test_the_first_ingress_network_waits_for_a_node_that_says_its_routes() -> None:
    mesh = Network(id="mesh", spec=NetworkSpec(annotations=Annotations(name="ingress"), ingress=True))
    silent = replace(node("n1", state=NodeState.UNKNOWN), description=NodeDescription(hostname="east"))
    view = view_of(CLUSTER, silent, mesh)
    planner = AllocatorPlanner()
    planner.reset(view)
    view = settled(view, planner)
    assert not view.networks.get("mesh").usable
    known = replace(on_route("10.0.0.0/24"), meta=view.nodes.get("n1").meta)
    view = changed(view, known)
    planner.observe(silent, view.nodes.get("n1"))
    view = settled(view, planner)
    assert view.networks.get("mesh").ipam.configs[0].subnet == "10.0.1.0/24"
    assert view.nodes.get("n1").attachments[0].address == "10.0.1.2/24"


def test_freed_addresses_are_given_out_in_the_order_in_which_they_were_freed() -> None:
    pool = AddressPool(4, (IPAMConfig(subnet="10.9.0.0/29", gateway="10.9.0.1"),))
    addresses = {last: parse_address(f"10.9.0.{last}")[1] for last in range(2, 7)}
    for address in addresses.values():
        pool.take(address, "task")
    for last in (4, 2, 6):
        pool.free(addresses[last], "task")
    assert [pool.as_cidr(address) for address in pool.free_addresses()] == ["10.9.0.4/29", "10.9.0.2/29", "10.9.0.6/29"]
