"""The owner of the network sandboxes over a driver in memory: connect, release, adopt, and that each can be repeated."""

import asyncio

import pytest

from agent.container.model import ContainerConfig, NetworkConnection, NetworkRequest
from agent.endpoint.container_networks import RESOLVER_ADDRESS, EndpointOwner
from agent.network.model import Attachment
from covey.errors import UnavailableError
from covey.objects import Annotations, Network, NetworkSpec
from tests.support.fake_host import FakeNetworks

ID = "c" * 64
FRONT = Network(id="front", vni=4097, spec=NetworkSpec(annotations=Annotations(name="name-front")))


class BrokenNetworks(FakeNetworks):
    async def attach(self, container_id: str, attachment: Attachment) -> None:
        raise UnavailableError(f"no {attachment.network_id} for {container_id[:3]}")


def config(*networks: str, mode: str = "", **changes: object) -> ContainerConfig:
    requests = tuple(NetworkRequest(network=key, ip="10.0.1.5/24") for key in networks)
    defaults = {"id": ID, "name": "web", "image": "i", "image_id": "i", "args": ("x",), "network_mode": mode}
    defaults["task_id"] = "t" if networks else ""
    if mode == "bridge":
        requests = (NetworkRequest(network="bridge"),)
    return ContainerConfig(**{**defaults, "requested_networks": requests, **changes})  # type: ignore[arg-type]


def owner(driver: FakeNetworks, *nameservers: str) -> EndpointOwner:
    made = EndpointOwner(driver, lambda: nameservers)
    made.set_networks([FRONT])
    return made


async def test_a_second_connect_returns_the_same_endpoints_and_a_start_after_release_makes_new_ones():
    driver = FakeNetworks()
    endpoints = owner(driver)
    first = await endpoints.connect(config("front"))
    assert await endpoints.connect(config("front")) == first
    assert [call[0] for call in driver.calls] == ["create", "attach", "outbound"]
    await endpoints.release(ID)
    await endpoints.release(ID)
    assert driver.sandboxes == set()
    assert await endpoints.connect(config("front")) == first
    assert driver.sandboxes == {ID}


async def test_an_endpoint_shows_its_address_gateway_and_hardware_address():
    made = await owner(FakeNetworks(), "9.9.9.9").connect(
        config(mode="bridge", requested_networks=(NetworkRequest(network="bridge", mac="02:42:00:00:00:09"),))
    )
    (endpoint,) = made.endpoints
    assert (endpoint.name, endpoint.ip, endpoint.prefix) == ("bridge", "172.20.0.5", 16)
    assert (endpoint.gateway, endpoint.mac, len(endpoint.endpoint_id)) == ("172.20.0.1", "02:42:00:00:00:09", 64)


@pytest.mark.parametrize(
    ("servers", "changes", "resolver"),
    [
        (("9.9.9.9",), {"mode": "bridge"}, ""),
        (("127.0.0.53",), {"mode": "bridge"}, RESOLVER_ADDRESS),
        (("127.0.0.53",), {"mode": "bridge", "dns": ("8.8.8.8",)}, ""),
        (("9.9.9.9",), {"task_id": "t"}, RESOLVER_ADDRESS),
    ],
)
async def test_a_container_on_the_bridge_asks_the_nameservers_itself_where_it_can_reach_them(
    servers: tuple[str, ...], changes: dict[str, object], resolver: str
):
    assert (await owner(FakeNetworks(), *servers).connect(config(**changes))).resolver == resolver  # type: ignore[arg-type]


async def test_a_connect_that_fails_leaves_no_sandbox():
    driver = BrokenNetworks()
    with pytest.raises(UnavailableError, match="no front"):
        await owner(driver).connect(config("front"))
    assert driver.sandboxes == set()


async def test_a_cancelled_connect_leaves_no_sandbox():
    class SlowNetworks(FakeNetworks):
        async def attach(self, container_id: str, attachment: Attachment) -> None:
            await asyncio.Event().wait()

    driver = SlowNetworks()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await owner(driver).connect(config("front"))
    assert driver.sandboxes == set()


async def test_the_host_network_and_none_need_no_driver():
    driver = FakeNetworks()
    assert await owner(driver).connect(config(mode="host")) == NetworkConnection(
        netns_path="host", host_gateway="127.0.0.1"
    )
    assert await owner(driver).connect(config(mode="none")) == NetworkConnection()
    assert driver.calls == []


async def test_an_adopted_container_keeps_what_it_had():
    driver = FakeNetworks()
    made = await owner(driver).connect(config("front"))
    saved = config("front", netns_path=made.netns_path, networks=made.endpoints, resolver=made.resolver)
    driver.calls.clear()
    later = owner(driver)
    await later.adopt(saved)
    assert driver.calls == [("adopt", ID, 1, ())]
    assert await later.connect(saved) == made
    await later.adopt(config(mode="host", netns_path="host"))
    assert len(driver.calls) == 1
