"""The interfaces that a container needs, for tasks and single containers."""

import pytest

from agent.container.model import ContainerConfig, NetworkRequest
from agent.endpoint.plan import InterfacePlan, plan_interfaces
from agent.network.model import Attachment
from covey.errors import NotFoundError, UnsupportedError
from covey.objects import Annotations, Driver, Network, NetworkSpec


def network(key: str, driver: str = "overlay", *, internal: bool = False) -> Network:
    spec = NetworkSpec(annotations=Annotations(name=f"name-{key}"), driver=Driver(name=driver), internal=internal)
    return Network(id=key, vni=4097, spec=spec)


NETWORKS = {key: network(key) for key in ("a", "b")} | {
    "in": network("in", internal=True),
    "host": network("host", "host"),
    "mac": network("mac", "macvlan"),
}


def config(*networks: str, mode: str = "", mac: str = "") -> ContainerConfig:
    requests = tuple(
        NetworkRequest(network=key, ip=f"10.0.{at}.5/24", aliases=("x",), mac=mac) for at, key in enumerate(networks)
    )
    return ContainerConfig(
        id="c" * 64, name="web", image="i", image_id="i", args=("x",), network_mode=mode, requested_networks=requests
    )


def test_a_container_has_an_interface_on_each_network_and_one_with_the_default_route():
    assert plan_interfaces(config("a", "b"), NETWORKS) == InterfacePlan(
        attachments=(Attachment("a", "10.0.0.5/24", "eth0", ("x",)), Attachment("b", "10.0.1.5/24", "eth1", ("x",))),
        outbound="eth2",
    )


def test_internal_networks_give_no_default_route():
    assert plan_interfaces(config("in"), NETWORKS).outbound == ""
    assert plan_interfaces(config("in", "a"), NETWORKS).outbound == "eth2"


def test_a_task_without_networks_is_on_the_bridge_with_its_neighbours():
    assert plan_interfaces(config(), NETWORKS) == InterfacePlan(outbound="eth0", isolated=False)


@pytest.mark.parametrize("mode", ["bridge", "default"])
def test_a_single_container_on_the_bridge_may_choose_its_hardware_address(mode: str):
    planned = plan_interfaces(config("bridge", mode=mode, mac="02:42:00:00:00:07"), NETWORKS)
    assert planned == InterfacePlan(outbound="eth0", isolated=False, mac="02:42:00:00:00:07")


def test_the_hosts_network_and_none_need_no_sandbox():
    assert plan_interfaces(config("host"), NETWORKS) == InterfacePlan(on_host=True)
    assert plan_interfaces(config(mode="host"), NETWORKS) == InterfacePlan(on_host=True)
    assert plan_interfaces(config(mode="none"), NETWORKS) == InterfacePlan(loopback_only=True)


def test_a_container_on_the_bridge_and_an_overlay_reaches_its_neighbours_on_both():
    planned = plan_interfaces(config("a", "bridge"), NETWORKS)
    assert (len(planned.attachments), planned.outbound, planned.isolated) == (1, "eth1", False)


def test_networks_that_are_unknown_or_of_another_kind_are_named():
    with pytest.raises(NotFoundError, match="network z "):
        plan_interfaces(config("z"), NETWORKS)
    with pytest.raises(UnsupportedError, match="name-mac with the driver macvlan"):
        plan_interfaces(config("mac"), NETWORKS)
