"""Allocation of subnets, VXLAN ids, VIPs, ports and addresses."""

from covey.network_options import VNI_OPTION
from covey.objects import (
    IPAM,
    Annotations,
    Cluster,
    Driver,
    Endpoint,
    EndpointSpec,
    IPAMConfig,
    Network,
    NetworkSpec,
    PortConfig,
    replace,
)
from covey.states import EndpointMode, Protocol, PublishMode, TaskState
from manager.allocator.planner import AllocatorPlanner
from manager.control.networks import remove_network
from manager.store import MemoryConsensus, Store
from tests.support.planning import NOW, applied, changed, in_state, removed, service, task, view_of

CLUSTER = Cluster(id="cluster")


def network(network_id: str = "net", **config) -> Network:
    ipam = IPAM(configs=(IPAMConfig(**config),)) if config else IPAM()
    return Network(id=network_id, spec=NetworkSpec(annotations=Annotations(name=f"name-{network_id}"), ipam=ipam))


def ingress(**spec) -> Network:
    return Network(id="mesh", spec=NetworkSpec(annotations=Annotations(name="ingress"), ingress=True, **spec))


def new(of, slot: int, **changes):
    return task(of, slot, **({"state": TaskState.NEW, "node_id": ""} | changes))


def settled(view, planner: AllocatorPlanner | None = None):
    """The view once the allocator has nothing left to give."""
    if planner is None:
        planner = AllocatorPlanner()
        planner.reset(view)
    while True:
        plan = planner.plan(view, NOW)
        if not plan.steps:
            return view
        view = applied(view, plan)
        for step in plan.steps:
            for item in step.items():
                planner.observe(None, item)


def addresses(view) -> list[str]:
    return sorted(given.address for item in view.tasks for given in item.networks)


def test_networks_get_a_subnet_each_a_gateway_and_a_vxlan_id_of_their_own() -> None:
    view = settled(view_of(CLUSTER, network("a"), network("b"), network("c", subnet="10.0.2.0/23")))
    configs = {item.id: item.ipam.configs[0] for item in view.networks}
    assert {key: config.subnet for key, config in configs.items()} == {
        "a": "10.0.1.0/24",
        "b": "10.0.4.0/24",  # what a person asked for is gone round
        "c": "10.0.2.0/23",
    }
    assert configs["a"].gateway == "10.0.1.1"
    assert sorted(item.vni for item in view.networks) == [4096, 4097, 4098]


def test_host_bits_are_ignored_and_a_given_gateway_is_kept() -> None:
    view = settled(view_of(CLUSTER, network(subnet="10.7.0.9/24", gateway="10.7.0.254")))
    assert view.networks.get("net").ipam.configs[0] == IPAMConfig(subnet="10.7.0.0/24", gateway="10.7.0.254")


def test_a_freed_vxlan_id_is_not_reused_at_once() -> None:
    view = settled(view_of(CLUSTER, network("a"), network("b")))
    view = settled(view_of(*removed(view, view.networks.get("a")).networks, CLUSTER, network("c")))
    assert view.networks.get("c").vni == 4098


async def test_a_new_leader_does_not_reuse_the_highest_vxlan_id_at_once() -> None:
    """It knows the networks that there are. A host that is still leaving the removed one would join the two."""
    store = Store(MemoryConsensus)
    view = settled(view_of(CLUSTER, network("a"), network("b")))
    for item in (*view.clusters, *view.networks):
        await store.update(lambda tx, item=item: tx.create(item))
    await store.update(lambda tx: remove_network(tx, "b"))
    await store.update(lambda tx: tx.create(network("c")))
    planner = AllocatorPlanner()
    planner.reset(store.view())
    await store.batch(planner.plan(store.view(), NOW).steps)
    assert store.view().networks.get("c").vni == 4098
    await store.update(lambda tx: remove_network(tx, "a"))
    assert store.view().cluster.highest_vni == 4097


def test_a_network_keeps_the_vxlan_id_that_its_options_name() -> None:
    asked = network("b")
    options = {VNI_OPTION: "4096"}
    asked = replace(asked, spec=replace(asked.spec, driver=Driver(name="overlay", options=options)))
    view = settled(view_of(CLUSTER, network("a"), asked, network("c")))
    assert view.networks.get("b").vni == 4096
    assert sorted(item.vni for item in view.networks) == [4096, 4097, 4098]


def test_tasks_without_networks_go_on_to_pending() -> None:
    web = service()
    view = settled(view_of(CLUSTER, web, new(web, 1)))
    assert view.tasks.get("web-1").status.state is TaskState.PENDING
    assert view.services.get("web").endpoint == Endpoint()


def test_a_service_gets_a_vip_and_its_tasks_get_other_addresses() -> None:
    web = service(networks=("net",))
    view = settled(view_of(CLUSTER, network(), web, new(web, 1), new(web, 2)))
    assert [vip.address for vip in view.services.get("web").endpoint.virtual_ips] == ["10.0.1.2/24"]
    assert addresses(view) == ["10.0.1.3/24", "10.0.1.4/24"]
    assert {item.status.state for item in view.tasks} == {TaskState.PENDING}


def test_a_service_with_dnsrr_has_no_vip() -> None:
    web = service(networks=("net",), endpoint=EndpointSpec(mode=EndpointMode.DNSRR))
    view = settled(view_of(CLUSTER, network(), web, new(web, 1)))
    assert view.services.get("web").endpoint.virtual_ips == ()
    assert addresses(view) == ["10.0.1.2/24"]


def test_an_address_is_held_until_the_task_has_ended_and_is_then_given_out_last() -> None:
    web = service(networks=("net",), endpoint=EndpointSpec(mode=EndpointMode.DNSRR))
    view = view_of(CLUSTER, network(subnet="10.9.0.0/29"), web, *[new(web, slot) for slot in range(1, 4)])
    planner = AllocatorPlanner()
    planner.reset(view)
    view = settled(view, planner)
    assert addresses(view) == ["10.9.0.2/29", "10.9.0.3/29", "10.9.0.4/29"]
    first = view.tasks.get("web-1")
    stopping = replace(in_state(first, TaskState.RUNNING), desired_state=TaskState.SHUTDOWN)
    view = changed(view, stopping)
    planner.observe(first, stopping)
    assert planner.index.address_holders()["net", 4, 0x0A090002] == {"task web-1"}
    stopping = view.tasks.get("web-1")
    view = changed(view, in_state(stopping, TaskState.SHUTDOWN))
    planner.observe(stopping, view.tasks.get("web-1"))
    for slot in (4, 5, 6):
        item = new(web, slot)
        view = view_of(*view.clusters, *view.networks, *view.services, *view.tasks, item)
        planner.observe(None, item)
        view = settled(view, planner)
    given = [view.tasks.get(f"web-{slot}").networks[0].address for slot in (4, 5, 6)]
    assert given == ["10.9.0.5/29", "10.9.0.6/29", "10.9.0.2/29"]


def test_an_exhausted_network_is_the_error_of_the_task_until_an_address_is_freed() -> None:
    web = service(networks=("net",), endpoint=EndpointSpec(mode=EndpointMode.DNSRR))
    view = view_of(CLUSTER, network(subnet="10.9.0.0/29"), web, *[new(web, slot) for slot in range(1, 7)])
    planner = AllocatorPlanner()
    planner.reset(view)
    view = settled(view, planner)
    waiting = [item for item in view.tasks if item.status.state is TaskState.NEW]
    assert [item.id for item in waiting] == ["web-6"]
    assert waiting[0].status.error == "could not find an available IP in network name-net: 10.9.0.0/29 is exhausted"
    ended = view.tasks.get("web-2")
    view = changed(view, in_state(ended, TaskState.FAILED))
    planner.observe(ended, view.tasks.get("web-2"))
    view = settled(view, planner)
    assert view.tasks.get("web-6").status.state is TaskState.PENDING
    assert view.tasks.get("web-6").status.error == ""


def test_a_missing_network_is_the_error_of_the_task_until_it_exists() -> None:
    web = service(networks=("net",))
    view = view_of(CLUSTER, web, new(web, 1))
    planner = AllocatorPlanner()
    planner.reset(view)
    view = settled(view, planner)
    assert view.tasks.get("web-1").status.error == "network net not found"
    view = view_of(*view.clusters, *view.services, *view.tasks, network())
    planner.observe(None, network())
    assert settled(view, planner).tasks.get("web-1").status.state is TaskState.PENDING


def test_exhausted_address_pools_are_the_error_of_the_task() -> None:
    small = replace(CLUSTER, default_address_pool=("10.50.0.0/24",))
    web = service(networks=("b",))
    view = settled(view_of(small, network("a"), network("b"), web, new(web, 1)))
    assert view.networks.get("a").ipam.configs[0].subnet == "10.50.0.0/24"
    assert not view.networks.get("b").vni
    assert "default address pool may be exhausted" in view.tasks.get("web-1").status.error


def test_published_ports_without_a_number_get_one_that_stays() -> None:
    open_port = PortConfig(target_port=80)
    host = PortConfig(target_port=81, published_port=30000, publish_mode=PublishMode.HOST)
    one = service("one", endpoint=EndpointSpec(ports=(open_port, host)))
    two = service("two", endpoint=EndpointSpec(ports=(open_port, PortConfig(target_port=53, protocol=Protocol.UDP))))
    view = settled(view_of(CLUSTER, ingress(), one, two))
    given = {item.id: [port.published_port for port in item.endpoint.ports] for item in view.services}
    assert given == {"one": [30001, 30000], "two": [30002, 30003]}
    stored = view.services.get("two")
    spec = replace(
        stored.spec, endpoint=EndpointSpec(ports=(*stored.spec.endpoint.ports, PortConfig(target_port=8080)))
    )
    view = settled(changed(view, replace(stored, spec=spec)))
    assert [port.published_port for port in view.services.get("two").endpoint.ports] == [30002, 30003, 30004]
