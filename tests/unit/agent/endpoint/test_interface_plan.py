"""The interfaces that a container needs, for tasks and single containers."""

import pytest

from agent.container.model import ContainerConfig, NetworkRequest
from agent.endpoint.plan import InterfacePlan, plan_interfaces
from agent.local_network.model import LocalNetwork
from agent.network.model import Attachment
from covey.errors import InvalidArgumentError, NotFoundError, UnsupportedError
from covey.objects import Annotations, Driver, Network, NetworkSpec

IFNAME = "com.docker.network.endpoint.ifname"


def network(key: str, driver: str = "overlay", *, internal: bool = False) -> Network:
    spec = NetworkSpec(annotations=Annotations(name=f"name-{key}"), driver=Driver(name=driver), internal=internal)
    return Network(id=key, vni=4097, spec=spec)


def local(name: str, driver: str = "bridge", **settings: object) -> LocalNetwork:
    return LocalNetwork(id=name.ljust(64, "0"), name=name, driver=driver, created_at_ns=0, **settings)  # type: ignore[arg-type]


NETWORKS = {key: network(key) for key in ("a", "b")} | {
    "in": network("in", internal=True),
    "host": network("host", "host"),
    "mac": network("mac", "macvlan"),
}
LOCAL = {
    each.name: each
    for each in (
        local("bridge"),
        local("own", options={"com.docker.network.container_iface_prefix": "lan"}),
        local("inside", internal=True),
    )
}


def config(*networks: str, mode: str = "", options: dict[str, str] | None = None) -> ContainerConfig:
    requests = tuple(
        NetworkRequest(network=key, ip=f"10.0.{at}.5/24", aliases=("x",), driver_options=options or {})
        for at, key in enumerate(networks)
    )
    return ContainerConfig(
        id="c" * 64, name="web", image="i", image_id="i", args=("x",), network_mode=mode, requested_networks=requests
    )


def plan(*networks: str, mode: str = "", options: dict[str, str] | None = None) -> InterfacePlan:
    return plan_interfaces(config(*networks, mode=mode, options=options), NETWORKS, LOCAL.get)


def names(found: InterfacePlan) -> list[str]:
    return [each.name for each in found.interfaces]


def test_a_container_has_an_interface_on_each_network_and_a_way_out_last():
    found = plan("a", "b")
    assert [each.attachment for each in found.interfaces] == [
        Attachment("a", "10.0.0.5/24", "eth0", ("x",)),
        Attachment("b", "10.0.1.5/24", "eth1", ("x",)),
    ]
    assert found.gateway == "eth2"


def test_internal_networks_give_no_way_out():
    assert plan("in").gateway == ""
    assert plan("in", "a").gateway == "eth2"
    assert plan("a", "inside").gateway == "eth2"


@pytest.mark.parametrize("networks", [(), ("bridge",), ("default",)])
def test_a_task_without_networks_is_on_the_bridge(networks: tuple[str, ...]):
    found = plan(*networks)
    assert [(each.name, each.local and each.local.name) for each in found.interfaces] == [("eth0", "bridge")]
    assert found.gateway == ""


def test_the_hosts_network_and_none_need_no_sandbox():
    assert plan("host") == plan(mode="host") == InterfacePlan(on_host=True)
    assert plan(mode="none") == InterfacePlan(loopback_only=True)


def test_a_network_of_the_host_is_the_way_out_of_the_overlays_beside_it():
    found = plan("a", "bridge")
    assert (names(found), found.gateway) == (["eth0", "eth1"], "")


def test_interfaces_have_the_prefix_of_their_network_or_the_name_that_is_asked_for():
    assert names(plan("bridge", "own", "a")) == ["eth0", "lan0", "eth1"]
    assert names(plan("own", options={IFNAME: "wan"})) == ["wan"]
    with pytest.raises(InvalidArgumentError, match="wan of .* is in use"):
        plan("bridge", "own", options={IFNAME: "wan"})


def test_a_network_that_is_named_twice_gives_one_interface():
    assert names(plan("bridge", "default")) == ["eth0"]


def test_networks_that_are_unknown_or_of_another_kind_are_named():
    with pytest.raises(NotFoundError, match="network z not found"):
        plan("z")
    with pytest.raises(UnsupportedError, match="name-mac with the driver macvlan"):
        plan("mac")
