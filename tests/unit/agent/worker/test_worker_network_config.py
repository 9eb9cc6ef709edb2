"""Changes for the network driver, and the network interfaces of a task."""

from agent.worker.network_config import network_changes
from covey.network_options import MTU_OPTION
from covey.objects import IPAM, Annotations, Driver, IPAMConfig, Network, NetworkSpec, replace
from covey.objects.assignment import AssignmentChange, AssignmentKind, NetworkEndpoint, VirtualService
from covey.states import EndpointMode


def network(key: str, driver: str = "overlay", *, internal: bool = False) -> Network:
    return Network(
        id=key, vni=4097, ipam=IPAM(configs=(IPAMConfig(subnet="10.0.1.0/24", gateway="10.0.1.1/24"),)),
        spec=NetworkSpec(annotations=Annotations(name=f"name-{key}"), driver=Driver(name=driver), internal=internal),
    )  # fmt: skip


NETWORKS = {key: network(key) for key in ("a", "b")} | {
    "in": network("in", internal=True),
    "host": network("host", "host"),
    "mac": network("mac", "macvlan"),
}


def test_the_mtu_that_a_network_asks_for_reaches_the_driver_and_none_is_the_hosts_own() -> None:
    options = {MTU_OPTION: "1300"}
    wish = replace(NETWORKS["a"], spec=NetworkSpec(driver=Driver(name="overlay", options=options)))
    told = network_changes(
        [AssignmentChange(kind=AssignmentKind.NETWORK, id=item.id, item=item) for item in (wish, NETWORKS["b"])]
    )
    assert [item.mtu for item in told.networks] == [1300, 0]


def test_assignment_changes_become_changes_for_the_network_driver() -> None:
    endpoint = NetworkEndpoint(id="t/a", network_id="a", task_id="t", address="10.0.1.7", host="10.9.0.1", ready=True)
    service = VirtualService(id="s/a", network_id="a", service_id="s", name="web", mode=EndpointMode.DNSRR)
    told = network_changes(
        [
            AssignmentChange(kind=AssignmentKind.NETWORK, id="a", item=NETWORKS["a"]),
            AssignmentChange(kind=AssignmentKind.NETWORK, id="host", item=NETWORKS["host"]),
            AssignmentChange(kind=AssignmentKind.ENDPOINT, id="t/a", item=endpoint),
            AssignmentChange(kind=AssignmentKind.VIRTUAL_SERVICE, id="s/a", item=service),
            AssignmentChange(kind=AssignmentKind.NETWORK, id="b"),
            AssignmentChange(kind=AssignmentKind.ENDPOINT, id="u/b"),
            AssignmentChange(kind=AssignmentKind.VIRTUAL_SERVICE, id="v/b"),
            AssignmentChange(kind=AssignmentKind.TASK, id="gone"),
        ]
    )
    (overlay,) = told.networks
    assert (overlay.id, overlay.vni, overlay.subnet, overlay.gateway) == ("a", 4097, "10.0.1.0/24", "10.0.1.1")
    assert (told.endpoints, told.services) == ((endpoint,), (service,))
    assert (told.removed_networks, told.removed_endpoints, told.removed_services) == (("b",), ("u/b",), ("v/b",))
