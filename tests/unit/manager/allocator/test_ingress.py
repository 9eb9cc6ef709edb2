"""Allocation on the ingress network: default networks, addresses of nodes and tasks, publication without a restart."""

from covey.objects import (
    IPAM,
    Annotations,
    Driver,
    Endpoint,
    EndpointSpec,
    IPAMConfig,
    Network,
    NetworkSpec,
    PortConfig,
    replace,
)
from covey.states import EndpointMode, NodeState, PublishMode, TaskState
from manager.allocator.default_networks import DefaultNetworksPlanner
from manager.allocator.node_addresses import RELEASE_NS
from manager.allocator.planner import AllocatorPlanner
from tests.support.planning import NOW, Ids, applied, changed, decide, in_state, node, removed, service, task, view_of
from tests.unit.manager.allocator.test_allocation import CLUSTER, ingress, network, new, settled

PORT = EndpointSpec(ports=(PortConfig(target_port=80, published_port=8080),))


def planner_of(view) -> AllocatorPlanner:
    planner = AllocatorPlanner()
    planner.reset(view)
    return planner


def running(view):
    for item in view.tasks:
        view = changed(view, replace(in_state(item, TaskState.RUNNING), node_id="n1"))
    return view


def update_ports(view, *ports: PortConfig, service_id: str = "web", mode: EndpointMode = EndpointMode.VIP):
    stored = view.services.get(service_id)
    return changed(view, replace(stored, spec=replace(stored.spec, endpoint=EndpointSpec(mode=mode, ports=ports))))


def host_port(number: int) -> PortConfig:
    return PortConfig(target_port=80, published_port=number, publish_mode=PublishMode.HOST)


def test_a_new_cluster_gets_its_default_networks_once() -> None:
    view = view_of(CLUSTER)
    planner = DefaultNetworksPlanner(Ids())
    planner.reset(view)
    view = applied(view, planner.plan(view, NOW))
    assert sorted((item.spec.annotations.name, item.spec.driver.name, item.spec.ingress) for item in view.networks) == [
        ("bridge", "bridge", False),
        ("host", "host", False),
        ("ingress", "overlay", True),
    ]
    view = settled(view)
    made = view.networks.ingress()
    assert (made.ipam.configs[0].subnet, made.usable) == ("10.0.0.0/24", True)
    assert all(item.usable for item in view.networks)
    view = removed(view, made)
    planner = DefaultNetworksPlanner(Ids())
    planner.reset(view)
    assert planner.plan(view, NOW).steps == ()  # a user removed it


def test_networks_of_nodes_own_drivers_are_usable_without_a_vxlan_id_and_give_tasks_no_address() -> None:
    spec = NetworkSpec(annotations=Annotations(name="lan"), driver=Driver(name="macvlan"), config_from="lan-config")
    web = service(networks=("lan",))
    view = settled(view_of(CLUSTER, Network(id="lan", spec=spec), web, new(web, 1)))
    assert (view.networks.get("lan").vni, view.networks.get("lan").usable) == (0, True)
    assert view.services.get("web").endpoint.virtual_ips == ()
    given = view.tasks.get("web-1")
    assert given.status.state is TaskState.PENDING
    assert [(item.network_id, item.address) for item in given.networks] == [("lan", "")]


def test_every_node_that_works_has_an_address_until_it_is_gone_for_long() -> None:
    view = view_of(CLUSTER, ingress(), node("a"), node("b"), node("new", state=NodeState.UNKNOWN))
    planner = planner_of(view)
    view = settled(view, planner)
    given = {item.id: [(a.address, a.mac) for a in item.attachments] for item in view.nodes}
    assert given == {
        "a": [("10.0.0.2/24", "02:42:0a:00:00:02")],
        "b": [("10.0.0.3/24", "02:42:0a:00:00:03")],
        "new": [],
    }
    before = view.nodes.get("a")
    down = replace(before, status=replace(before.status, state=NodeState.DOWN, changed_at_ns=NOW))
    view = changed(view, down)
    planner.observe(before, view.nodes.get("a"))
    plan = planner.plan(view, NOW)
    assert (plan.steps, plan.wake_at_ns) == ((), NOW + RELEASE_NS)
    view = applied(view, planner.plan(view, NOW + RELEASE_NS))
    assert view.nodes.get("a").attachments == ()
    assert planner_of(view).plan(view, NOW + RELEASE_NS).steps == ()


def test_nodes_follow_an_ingress_network_that_is_removed_and_made_again() -> None:
    view = settled(view_of(CLUSTER, ingress(), node("a")))
    planner = planner_of(view)
    before = view.networks.get("mesh")
    view = removed(view, before)
    planner.observe(before, None)
    view = settled(view, planner)
    assert view.nodes.get("a").attachments == ()
    again = Network(
        id="mesh2",
        spec=NetworkSpec(
            annotations=Annotations(name="ingress"),
            ingress=True,
            ipam=IPAM(configs=(IPAMConfig(subnet="10.77.0.0/16"),)),
        ),
    )
    view = view_of(*view.clusters, *view.nodes, again)
    planner.observe(None, again)
    view = settled(view, planner)
    assert [item.address for item in view.nodes.get("a").attachments] == ["10.77.0.2/16"]


def test_a_published_service_has_a_vip_and_its_tasks_addresses_on_the_ingress_network() -> None:
    web = service(networks=("net",), endpoint=PORT)
    view = settled(view_of(CLUSTER, ingress(), network(), web, new(web, 1)))
    vips = {vip.network_id: vip.address for vip in view.services.get("web").endpoint.virtual_ips}
    assert vips == {"net": "10.0.1.2/24", "mesh": "10.0.0.2/24"}
    given = view.tasks.get("web-1")
    assert [(item.network_id, item.address) for item in given.networks] == [
        ("net", "10.0.1.3/24"),
        ("mesh", "10.0.0.3/24"),
    ]
    assert given.endpoint.ports == PORT.ports


def test_a_missing_ingress_network_is_the_error_of_the_task() -> None:
    web = service(endpoint=PORT)
    view = view_of(CLUSTER, web, new(web, 1))
    planner = planner_of(view)
    view = settled(view, planner)
    assert "no ingress network is present" in view.tasks.get("web-1").status.error
    view = view_of(*view.clusters, *view.services, *view.tasks, ingress())
    planner.observe(None, ingress())
    assert settled(view, planner).tasks.get("web-1").status.state is TaskState.PENDING


def test_ports_that_change_reach_the_running_tasks_and_replace_none() -> None:
    web = service(replicas=2)
    view = running(settled(view_of(CLUSTER, ingress(), node("n1"), web, new(web, 1), new(web, 2))))
    assert decide(view).steps == ()
    view = update_ports(view, PortConfig(target_port=80), PortConfig(target_port=81, published_port=8081))
    assert decide(view).steps == ()
    view = settled(view)
    endpoint = view.services.get("web").endpoint
    assert [port.published_port for port in endpoint.ports] == [30000, 8081]
    assert {item.endpoint for item in view.tasks} == {endpoint}
    addresses = [item.networks[0].address for item in view.tasks]
    assert addresses == ["10.0.0.4/24", "10.0.0.5/24"]
    assert {item.status.state for item in view.tasks} == {TaskState.RUNNING}
    assert decide(view).steps == ()
    view = settled(update_ports(view, PortConfig(target_port=80, published_port=8090)))
    assert [item.networks[0].address for item in view.tasks] == addresses  # connections go on
    view = settled(update_ports(view))
    assert [(item.networks, item.endpoint.ports) for item in view.tasks] == [((), ()), ((), ())]
    assert decide(view).steps == ()


def test_another_endpoint_mode_replaces_tasks() -> None:
    web = service()
    view = running(settled(view_of(CLUSTER, node("n1"), web, new(web, 1))))
    view = settled(update_ports(view, mode=EndpointMode.DNSRR))
    assert view.tasks.get("web-1").endpoint.spec.mode is EndpointMode.VIP
    assert decide(view).steps


def test_a_host_port_goes_to_the_running_task_unless_its_node_has_given_it_away() -> None:
    """Two replicas on one node: the older takes the port over, the younger is replaced and finds another node."""
    web = service(replicas=2)
    view = running(settled(view_of(CLUSTER, node("n1"), web, new(web, 1), new(web, 2))))
    view = settled(update_ports(view, host_port(8080)))
    assert view.tasks.get("web-1").endpoint.ports == (host_port(8080),)
    assert view.tasks.get("web-2").endpoint.ports == ()
    told_to_end = [item.id for step in decide(view).steps for item in step.updates if item.id.startswith("web-")]
    assert told_to_end == ["web-2"]


def test_two_services_that_ask_for_a_host_port_at_once_do_not_both_get_it() -> None:
    one, two = service("one"), service("two")
    view = running(settled(view_of(CLUSTER, node("n1"), one, two, new(one, 1), new(two, 1))))
    view = update_ports(view, host_port(8080), service_id="one")
    view = update_ports(view, host_port(8080), service_id="two")
    view = settled(view)
    assert sorted(len(item.endpoint.ports) for item in view.tasks) == [0, 1]
    assert bool(decide(view, "one").steps) != bool(decide(view, "two").steps)


def test_a_host_port_that_becomes_free_reaches_the_task_that_waits_for_it() -> None:
    one, two = service("one"), service("two")
    view = running(settled(view_of(CLUSTER, node("n1"), one, two, new(one, 1), new(two, 1))))
    view = settled(update_ports(view, host_port(8080), service_id="one"))
    planner = planner_of(view)
    before = view.services.get("two")
    view = update_ports(view, host_port(8080), service_id="two")
    planner.observe(before, view.services.get("two"))
    view = settled(view, planner)
    assert view.tasks.get("two-1").endpoint.ports == ()
    ended = view.tasks.get("one-1")
    view = changed(view, in_state(ended, TaskState.FAILED))
    planner.observe(ended, view.tasks.get("one-1"))
    view = settled(view, planner)
    assert view.tasks.get("two-1").endpoint.ports == (host_port(8080),)


def test_stopped_tasks_are_left_alone() -> None:
    web = service()
    stopped = task(web, 1, state=TaskState.RUNNING, desired=TaskState.SHUTDOWN)
    view = view_of(CLUSTER, ingress(), node("n1"), web, replace(stopped, endpoint=None))
    view = settled(update_ports(view, PORT.ports[0]))
    assert view.tasks.get("web-1").networks == ()


def test_a_rollback_to_a_port_that_another_service_has_meanwhile_waits_and_says_so() -> None:
    view = settled(view_of(CLUSTER, ingress(), service("web", endpoint=PORT)))
    web = view.services.get("web")
    other = service("other")
    view = view_of(*view.clusters, *view.networks, web, other, new(other, 1))
    view = settled(update_ports(view, PORT.ports[0], service_id="other"))
    assert view.tasks.get("other-1").status.error == "port '8080' is already in use by service 'web' (web)"
    assert view.services.get("other").endpoint in (None, Endpoint())
    planner = planner_of(view)
    view = settled(view, planner)
    before = view.services.get("web")
    view = removed(view, before)
    planner.observe(before, None)
    view = settled(view, planner)
    assert view.services.get("other").endpoint.ports == PORT.ports
    assert view.tasks.get("other-1").status.state is TaskState.PENDING


def test_a_task_whose_change_was_refused_is_told_of_its_ports_in_the_next_pass() -> None:
    """A status of the task that is stored between plan and commit refuses the step."""
    web = service()
    view = running(settled(view_of(CLUSTER, ingress(), node("n1"), web, new(web, 1))))
    planner = planner_of(view)
    settled(view, planner)
    before = view.services.get("web")
    view = update_ports(view, PORT.ports[0])
    planner.observe(before, view.services.get("web"))
    view = applied(view, plan := planner.plan(view, NOW))
    for step in plan.steps:
        for item in step.items():
            planner.observe(None, item)
    refused = planner.plan(view, NOW)
    assert [item.id for step in refused.steps for item in step.updates] == ["web-1"]
    for step in refused.steps:
        for item in step.items():
            planner.observe(None, item)
    view = settled(view, planner)
    assert view.tasks.get("web-1").endpoint.ports == PORT.ports
