"""Requests with published ports, the ingress network and fixed addresses: what is refused, in which words, and what is stored."""

from typing import Any

import pytest

from covey.errors import AlreadyExistsError, CoveyError, InvalidArgumentError, PermissionDeniedError, PreconditionError
from covey.objects import (
    IPAM,
    Annotations,
    ContainerSpec,
    Driver,
    Endpoint,
    EndpointSpec,
    HostRoute,
    IPAMConfig,
    Network,
    NetworkAttachmentConfig,
    NetworkSpec,
    Node,
    NodeDescription,
    PortConfig,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
    replace,
)
from covey.states import EndpointMode, Protocol, PublishMode, ServiceMode, UpdateOrder
from manager.control.networks import create_network, remove_network
from manager.control.services import create_service, update_service
from manager.store.view import Tx, View
from tests.support.planning import NOW, Ids, execute

INGRESS = NetworkSpec(annotations=Annotations(name="ingress"), ingress=True)
HOST = NetworkSpec(
    annotations=Annotations(name="host", labels={"com.docker.swarm.predefined": "true"}), driver=Driver(name="host")
)
FRONT = NetworkSpec(
    annotations=Annotations(name="front"), ipam=IPAM(configs=(IPAMConfig(subnet="10.9.0.0/24", gateway="10.9.0.1"),))
)


class Cluster:
    """A view that requests change."""

    def __init__(self, *specs: NetworkSpec) -> None:
        self.ids = Ids()
        self.view = View.empty()
        for spec in specs:
            self.do(lambda tx, spec=spec: tx.create(Network(id=self.ids(), spec=spec, ipam=spec.ipam, allocated=True)))

    def do(self, request: Any) -> Any:
        result: list[Any] = []
        self.view = execute(self.view, [lambda tx: result.append(request(tx))], NOW)
        return result[0]

    def create(self, name: str, *ports: PortConfig, mode: EndpointMode = EndpointMode.VIP, **spec: Any) -> str:
        return str(self.do(lambda tx: create_service(tx, service(name, *ports, mode=mode, **spec), self.ids, NOW)))

    def update(self, name: str, *ports: PortConfig) -> None:
        def apply(tx: Tx) -> None:
            stored = tx.services.find(name)
            endpoint = EndpointSpec(ports=ports)
            update_service(tx, name, stored.meta.version, replace(stored.spec, endpoint=endpoint), NOW)

        self.do(apply)


def service(
    name: str, *ports: PortConfig, mode: EndpointMode = EndpointMode.VIP, networks: tuple[str, ...] = (), **spec: Any
) -> ServiceSpec:
    fixed = spec.pop("fixed", ())
    targets = tuple(NetworkAttachmentConfig(target=target, addresses=fixed) for target in networks)
    task = TaskSpec(container=ContainerSpec(image="busybox"), networks=targets)
    return ServiceSpec(
        annotations=Annotations(name=name), task=task, endpoint=EndpointSpec(mode=mode, ports=ports), **spec
    )


def port(published: int, target: int = 80, *, host: bool = False, protocol: Protocol = Protocol.TCP) -> PortConfig:
    mode = PublishMode.HOST if host else PublishMode.INGRESS
    return PortConfig(protocol=protocol, target_port=target, published_port=published, publish_mode=mode)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(INGRESS, HOST, FRONT)


@pytest.mark.parametrize(
    ("ports", "words"),
    [
        ((port(8080),), "port '8080' is already in use by service 'web' ({id}) as an ingress port"),
        ((port(8080, host=True),), "port '8080' is already in use by service 'web' ({id}) as an ingress port"),
        ((port(9090),), "port '9090' is already in use by service 'web' ({id}) as a host-published port"),
    ],
)
def test_a_port_of_another_service_is_refused_with_its_owner(
    cluster: Cluster, ports: tuple[PortConfig, ...], words: str
) -> None:
    owner = cluster.create("web", port(8080), port(9090, host=True))
    before = cluster.view
    with pytest.raises(InvalidArgumentError) as refused:
        cluster.create("api", *ports)
    assert refused.value.message == words.format(id=owner)
    other = cluster.create("other")
    with pytest.raises(InvalidArgumentError) as refused:
        cluster.update("other", *ports)
    assert refused.value.message == words.format(id=owner)
    assert (len(before.services), cluster.view.services.find(other).spec.endpoint) == (1, EndpointSpec())


def test_ports_that_do_not_clash_are_stored(cluster: Cluster) -> None:
    cluster.create("web", port(8080), port(9090, host=True), port(0), port(0, 81))
    cluster.create("udp", port(8080, protocol=Protocol.UDP), port(8080, protocol=Protocol.SCTP))
    cluster.create("same", port(9090, host=True))  # on other nodes
    cluster.update("web", port(8080), port(8081))  # its own port is no conflict
    assert [len(item.spec.endpoint.ports) for item in cluster.view.services if item.spec.endpoint] == [2, 2, 1]


def test_a_port_that_the_allocator_drew_belongs_to_its_service(cluster: Cluster) -> None:
    key = cluster.create("web", port(0))
    stored = cluster.view.services.find(key)
    drawn = Endpoint(spec=EndpointSpec(ports=(port(0),)), ports=(port(30000),))
    cluster.do(lambda tx: tx.update(replace(stored, endpoint=drawn)))
    with pytest.raises(InvalidArgumentError, match="port '30000' is already in use by service 'web'"):
        cluster.create("api", port(30000))


@pytest.mark.parametrize(
    ("ports", "more", "words"),
    [
        ((port(80), port(80, 81)), {}, "EndpointSpec: duplicate published ports provided"),
        ((port(80, 0),), {}, "invalid target port 0"),
        ((port(80, 70_000),), {}, "invalid target port 70000"),
        ((port(70_000),), {}, "invalid published port 70000"),
        (
            (port(80),),
            {"mode": EndpointMode.DNSRR},
            "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
        ),
        ((port(80),), {"networks": ("host",)}, "can't be used with the network host"),
        ((), {"networks": ("ingress",)}, 'Service cannot be explicitly attached to the ingress network "ingress"'),
        ((), {"networks": ("host", "front")}, "a service on the network host has no other network"),
    ],
)
def test_impossible_ports_and_networks_are_refused(
    cluster: Cluster, ports: tuple[PortConfig, ...], more: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        cluster.create("web", *ports, **more)
    assert words in refused.value.message
    assert len(cluster.view.services) == 0


def test_host_mode_works_with_dnsrr_and_on_the_hosts_network(cluster: Cluster) -> None:
    cluster.create("rr", port(80, host=True), mode=EndpointMode.DNSRR)
    key = cluster.create("host", port(81, host=True), networks=("host",))
    target = cluster.view.services.find(key).spec.task.networks[0].target
    assert cluster.view.networks.find(target).spec.driver.name == "host"


# --- the ingress network ---


def test_there_is_one_ingress_network_which_is_removed_and_made_again(cluster: Cluster) -> None:
    present = cluster.view.networks.ingress()
    assert present is not None
    again = replace(
        INGRESS, annotations=Annotations(name="mesh"), ipam=IPAM(configs=(IPAMConfig(subnet="10.77.0.0/16"),))
    )
    with pytest.raises(AlreadyExistsError, match=rf"ingress network \({present.id}\) is already present"):
        cluster.do(lambda tx: create_network(tx, again, cluster.ids))
    web = cluster.create("web", port(80))
    with pytest.raises(PreconditionError, match="ingress network cannot be removed because service web depends on it"):
        cluster.do(lambda tx: remove_network(tx, "ingress"))
    cluster.update(web)
    cluster.do(lambda tx: remove_network(tx, "ingress"))
    with pytest.raises(PreconditionError, match="service needs ingress network, but no ingress network is present"):
        cluster.create("api", port(81))
    cluster.do(lambda tx: create_network(tx, again, cluster.ids))
    cluster.create("api", port(81))


def test_predefined_networks_stay(cluster: Cluster) -> None:
    with pytest.raises(PermissionDeniedError, match="host is a pre-defined network and cannot be removed"):
        cluster.do(lambda tx: remove_network(tx, "host"))


# --- fixed addresses ---


def test_fixed_addresses_are_kept_by_clients_that_know_only_options(cluster: Cluster) -> None:
    """Seen as: `docker service update --force` took the fixed addresses of a service, because its client does not know the field."""
    key = cluster.create("db", networks=("front",), fixed=("10.9.0.5", "10.9.0.6"))
    stored = cluster.view.services.get(key)
    target = stored.spec.task.networks[0]
    assert target.driver_options == {"covey.addresses": "10.9.0.5;10.9.0.6"}
    forgetful = replace(stored.spec, task=replace(stored.spec.task, networks=(replace(target, addresses=()),)))
    cluster.do(lambda tx: update_service(tx, "db", stored.meta.version, forgetful, NOW))
    assert cluster.view.services.get(key).spec.task == stored.spec.task
    other = replace(target, addresses=("10.9.0.7",))
    contrary = replace(stored.spec, task=replace(stored.spec.task, networks=(other,)))
    with pytest.raises(InvalidArgumentError, match="differ from the option covey.addresses"):
        cluster.do(lambda tx: update_service(tx, "db", tx.services.get(key).meta.version, contrary, NOW))


@pytest.mark.parametrize(
    ("fixed", "more", "words"),
    [
        (("10.9.0.5",), {"replicas": 2}, "2 replicas need as many fixed IPv4 addresses on network front, given are 1"),
        (("10.9.0.5",), {"mode_": ServiceMode.GLOBAL}, "need a replicated service"),
        (("10.9.0.5",), {"update": UpdateConfig(order=UpdateOrder.START_FIRST)}, "use stop-first"),
        (("10.8.0.5",), {}, "invalid address 10.8.0.5: It does not belong to any of this network's subnets"),
        (("10.9.0.255",), {}, "invalid address 10.9.0.255"),
        (("10.9.0.1",), {}, "Address already in use: 10.9.0.1 on network front belongs to network front"),
        (("10.9.0.9",), {}, "Address already in use: 10.9.0.9 on network front belongs to service taken"),
        (("10.9.0.5", "10.9.0.5"), {}, "the fixed address 10.9.0.5 on network front is given twice"),
        (("10.9.0.5/24",), {}, "invalid fixed address '10.9.0.5/24'"),
    ],
)
def test_fixed_addresses_that_give_no_slot_its_own_are_refused(
    cluster: Cluster, fixed: tuple[str, ...], more: dict[str, Any], words: str
) -> None:
    cluster.create("taken", networks=("front",), fixed=("10.9.0.9",))
    spec = service("web", networks=("front",), fixed=fixed, **{k: v for k, v in more.items() if k != "mode_"})
    spec = replace(spec, mode=more.get("mode_", ServiceMode.REPLICATED))
    with pytest.raises(CoveyError) as refused:
        cluster.do(lambda tx: create_service(tx, spec, cluster.ids, NOW))
    assert words in refused.value.message
    assert len(cluster.view.services) == 1


def test_a_subnet_that_contains_a_route_of_a_node_is_refused_with_the_routes_name(cluster: Cluster) -> None:
    route = HostRoute(destination="10.20.5.0/24", device="tun0")
    cluster.do(lambda tx: tx.create(Node(id="n1", description=NodeDescription(hostname="east", routes=(route,)))))
    wide, narrow = (
        NetworkSpec(annotations=Annotations(name=name), ipam=IPAM(configs=(IPAMConfig(subnet=subnet),)))
        for name, subnet in (("wide", "10.20.0.0/16"), ("narrow", "10.20.5.128/25"))
    )
    with pytest.raises(PermissionDeniedError) as refused:
        cluster.do(lambda tx: create_network(tx, wide, cluster.ids))
    assert (
        "10.20.0.0/16 contains 10.20.5.0/24, which node east reaches by its own route on tun0" in refused.value.message
    )
    cluster.do(lambda tx: create_network(tx, narrow, cluster.ids))
