"""The owner of the network sandboxes over a driver in memory: connect, release, adopt, join and leave, and that each can be repeated."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.container.model import ContainerConfig, EndpointSettings, NetworkConnection, NetworkRequest, PortBinding
from agent.endpoint.container_networks import RESOLVER_ADDRESS, EndpointOwner
from agent.endpoint.endpoint_settings import read_sysctls
from agent.endpoint.kernel_plans import endpoint_addresses
from agent.endpoint.local_endpoints import LocalEndpoints
from agent.local_network.model import NetworkRequirements
from agent.network.model import Attachment, LocalAttachment
from agent.network.namespace_state import container_key
from covey.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError, UnavailableError
from covey.objects import Annotations, Driver, Network, NetworkSpec
from covey.objects.network import IPAM, IPAMConfig
from tests.support.fake_host import FakeNetworks
from tests.support.local_networks import RecordedFragments, open_local

ID = "c" * 64
FRONT = Network(id="front", vni=4097, spec=NetworkSpec(annotations=Annotations(name="name-front")))


class BrokenNetworks(FakeNetworks):
    async def attach(self, container_id: str, attachment: Attachment) -> None:
        raise UnavailableError(f"no {attachment.network_id} for {container_id[:3]}")


class SlowNetworks(FakeNetworks):
    async def attach(self, container_id: str, attachment: Attachment) -> None:
        await asyncio.Event().wait()


class Host:
    """A host whose daemon can be made again over the same store."""

    def __init__(self, folder: Path, driver: FakeNetworks, *nameservers: str) -> None:
        self.folder, self.driver, self.nameservers = folder, driver, nameservers
        self.fragments = RecordedFragments()
        self.opened: list[LocalEndpoints] = []

    async def owner(self) -> EndpointOwner:
        self.close()
        self.opened.append(await open_local(self.folder, self.driver, self.fragments))
        made = EndpointOwner(self.driver, self.opened[-1], lambda: self.nameservers)
        made.set_networks([FRONT])
        return made

    def close(self) -> None:
        for local in self.opened:
            local.networks.close()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    made = Host(tmp_path, FakeNetworks(), "9.9.9.9")
    yield made
    made.close()


def request(network: str, **settings: object) -> NetworkRequest:
    return NetworkRequest(network=network, **settings)  # type: ignore[arg-type]


def config(*requests: NetworkRequest, mode: str = "bridge", **changes: object) -> ContainerConfig:
    fixed = {"id": ID, "name": "web", "image": "i", "image_id": "i", "args": ("x",), "network_mode": mode}
    return ContainerConfig(**{**fixed, "requested_networks": requests, **changes})  # type: ignore[arg-type]


def task(*networks: str, **changes: object) -> ContainerConfig:
    return config(*(request(key, ip="10.0.1.5/24") for key in networks), mode="", task_id="t", **changes)


async def create(owner: EndpointOwner, name: str, *subnets: str, **settings: object) -> str:
    ipam = IPAM(configs=tuple(IPAMConfig(subnet=text) for text in subnets))
    wanted = NetworkRequirements(name=name, ipam=ipam, **settings)  # type: ignore[arg-type]
    return (await owner.local.create(wanted, 7)).id


def default_routes(host: Host) -> set[tuple[str, str]]:
    state = host.fragments.wanted[f"routes/{ID}"][container_key(ID)]
    return {(route.gateway, route.device) for route in state.routes}


async def test_a_second_connect_returns_the_same_endpoints_and_a_start_after_release_makes_new_ones(host: Host):
    owner = await host.owner()
    first = await owner.connect(task("front"))
    assert await owner.connect(task("front")) == first
    assert [call[0] for call in host.driver.calls] == ["create", "attach"]
    assert [(item.name, item.interface, item.ip) for item in first.endpoints] == [
        ("name-front", "eth0", "10.0.1.5"),
        ("docker_gwbridge", "eth1", "172.18.0.2"),
    ]
    await owner.release(ID)
    await owner.release(ID)
    assert host.driver.sandboxes == set()
    assert not any(ID in key for key in host.fragments.wanted)
    again = await owner.connect(task("front"))
    assert again.endpoints[1].ip == "172.18.0.3"  # a freed address comes back last


async def test_an_endpoint_shows_its_address_gateway_and_hardware_address(host: Host):
    made = await (await host.owner()).connect(config(request("bridge", mac="02:42:00:00:00:09")))
    (endpoint,) = made.endpoints
    assert (endpoint.name, endpoint.driver, endpoint.ip, endpoint.prefix) == ("bridge", "bridge", "172.17.0.2", 16)
    assert (endpoint.gateway, endpoint.mac, len(endpoint.endpoint_id)) == ("172.17.0.1", "02:42:00:00:00:09", 64)
    assert made.host_gateway == "172.17.0.1"
    assert default_routes(host) == {("172.17.0.1", "eth0")}


@pytest.mark.parametrize(
    ("servers", "container", "resolver"),
    [
        (("9.9.9.9",), config(request("bridge")), ""),
        (("127.0.0.53",), config(request("bridge")), RESOLVER_ADDRESS),
        (("127.0.0.53",), config(request("bridge"), dns=("8.8.8.8",)), ""),
        (("9.9.9.9",), config(request("own")), RESOLVER_ADDRESS),
        (("9.9.9.9",), task(), RESOLVER_ADDRESS),
    ],
)
async def test_a_container_on_the_bridge_asks_the_nameservers_itself_where_it_can_reach_them(
    host: Host, servers: tuple[str, ...], container: ContainerConfig, resolver: str
):
    host.nameservers = servers
    owner = await host.owner()
    await create(owner, "own")
    assert (await owner.connect(container)).resolver == resolver


async def test_a_connect_that_fails_or_is_cancelled_leaves_no_sandbox_and_no_address(tmp_path: Path):
    broken = Host(tmp_path, BrokenNetworks())
    with pytest.raises(UnavailableError, match="no front"):
        await (await broken.owner()).connect(task("front"))
    assert broken.driver.sandboxes == set()
    slow = Host(tmp_path, SlowNetworks())
    owner = await slow.owner()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await owner.connect(
                task("front", requested_networks=(request("bridge"), request("front", ip="10.0.1.5/24")))
            )
    assert slow.driver.sandboxes == set()
    assert not any(ID in key for key in slow.fragments.wanted)
    assert owner.local.networks.addresses.holders(owner.local.networks.get("bridge").id) == frozenset()
    slow.close()
    broken.close()


async def test_the_host_network_and_none_need_no_driver(host: Host):
    owner = await host.owner()
    on_host = NetworkConnection(netns_path="host", host_gateway="127.0.0.1")
    assert await owner.connect(config(mode="host")) == on_host
    assert await owner.connect(config(mode="none")) == NetworkConnection()
    assert host.driver.calls == []


async def test_several_networks_of_one_container_give_it_names_and_the_default_route_of_the_highest_priority(
    host: Host,
):
    owner = await host.owner()
    front = await create(owner, "front-net", "10.1.0.0/24")
    back = await create(owner, "back-net", "10.2.0.0/24", "fd02::/64", ipv6=True)
    first = request("front-net", ip="10.1.0.9", aliases=("db",), links=("other:friend",))
    made = await owner.connect(config(first, request("back-net"), mode="front-net"))
    assert [(item.interface, item.ip, item.ip6) for item in made.endpoints] == [
        ("eth0", "10.1.0.9", ""),
        ("eth1", "10.2.0.2", "fd02::2"),
    ]
    assert default_routes(host) == {("10.2.0.1", "eth1"), ("fd02::1", "eth1")}  # the first by name
    zone = host.driver.zones[front]
    assert zone is not None
    assert set(zone.forward) == {b"web", b"db", ID[:12].encode()}
    assert host.driver.local_attachments[ID] == (
        LocalAttachment(front, "eth0", (("friend", "other"),)),
        LocalAttachment(back, "eth1"),
    )
    await owner.release(ID)
    preferred = config(request("front-net", gateway_priority=1), request("back-net"), mode="front-net")
    await owner.connect(preferred)
    assert default_routes(host) == {("10.1.0.1", "eth0"), ("fd02::1", "eth1")}
    assert host.driver.zones[front] is not None


async def test_internal_networks_give_no_default_route(host: Host):
    owner = await host.owner()
    await create(owner, "inside", internal=True)
    made = await owner.connect(config(request("inside"), mode="inside"))
    assert made.endpoints[0].gateway == ""
    assert default_routes(host) == set()


async def test_a_running_container_joins_and_leaves_and_its_default_route_follows(host: Host):
    owner = await host.owner()
    await create(owner, "a-net", "10.1.0.0/24")
    running = config(request("bridge"))
    made = await owner.connect(running)
    running = config(request("bridge"), networks=made.endpoints, netns_path=made.netns_path)
    joined = await owner.join(running, request("a-net", ip="10.1.0.7"))
    assert (joined.endpoints[1].name, joined.endpoints[1].ip, joined.resolver) == (
        "a-net",
        "10.1.0.7",
        RESOLVER_ADDRESS,
    )
    assert default_routes(host) == {("10.1.0.1", "eth1")}
    running = config(request("bridge"), networks=joined.endpoints, netns_path=made.netns_path)
    left = await owner.leave(running, joined.endpoints[1])
    assert [item.name for item in left.endpoints] == ["bridge"]
    assert default_routes(host) == {("172.17.0.1", "eth0")}


async def test_a_container_on_an_overlay_has_its_own_way_out_only_while_no_network_of_the_host_is_one(host: Host):
    owner = await host.owner()
    made = await owner.connect(task("front"))
    running = task("front", networks=made.endpoints, netns_path=made.netns_path)
    joined = await owner.join(running, request("bridge"))
    assert [item.name for item in joined.endpoints] == ["name-front", "bridge"]
    running = task("front", networks=joined.endpoints, netns_path=made.netns_path)
    left = await owner.leave(running, joined.endpoints[1])
    assert [item.name for item in left.endpoints] == ["name-front", "docker_gwbridge"]


async def test_a_task_without_networks_keeps_its_way_out_when_the_mesh_leads_to_it_no_more(host: Host):
    """It lost its only interface with the last ingress port of its service, and its ports in mode host with it."""
    owner = await host.owner()
    made = await owner.connect(task(in_mesh=True))
    assert [item.name for item in made.endpoints] == ["docker_gwbridge"]
    after = await owner.publish(task(networks=made.endpoints, netns_path="/x"))
    assert after.endpoints == made.endpoints
    assert default_routes(host)


async def test_what_a_container_cannot_have_is_refused_and_leaves_nothing(host: Host):
    owner = await host.owner()
    await create(owner, "own", "10.1.0.0/24")
    await create(owner, "cfg", config_only=True)
    refusals: list[tuple[NetworkRequest, type[Exception], str]] = [
        (request("bridge", ip="172.17.0.9"), InvalidArgumentError, "supported on user defined networks only"),
        (request("own", ip="10.1.0.1"), PermissionDeniedError, "Address already in use"),
        (request("cfg"), PermissionDeniedError, "cannot create endpoint on configuration-only network"),
        (request("nowhere"), NotFoundError, "network nowhere not found"),
        (request("own", driver_options={"com.docker.network.endpoint.sysctls": "kernel.x=1"}), InvalidArgumentError, "unrecognised sysctl"),
        (request("own", driver_options={"com.docker.network.endpoint.ifname": "a/b"}), InvalidArgumentError, "invalid interface name"),
    ]  # fmt: skip
    for wanted, kind, words in refusals:
        with pytest.raises(kind, match=words):
            await owner.connect(config(wanted, mode=wanted.network))
    assert host.driver.sandboxes == set()
    assert not any(ID in key for key in host.fragments.wanted)


async def test_a_network_that_the_kernel_refuses_is_not_created(host: Host):
    owner = await host.owner()
    host.fragments.refusals["local/"] = UnavailableError("no bridges here")
    with pytest.raises(UnavailableError, match="no bridges here"):
        await create(owner, "own")
    assert owner.local.networks.find("own") is None
    assert not any(key.startswith("local/") for key in host.fragments.wanted)


async def test_published_ports_of_a_routed_network_are_open_at_the_containers_own_address(host: Host):
    owner = await host.owner()
    routed = {"com.docker.network.bridge.gateway_mode_ipv4": "routed"}
    await create(owner, "routed", "10.1.0.0/24", "fd01::/64", ipv6=True, options=routed)
    bindings = {"80/tcp": (PortBinding(host_port="8080"),), "53/udp": None}
    container = config(request("routed"), mode="routed", port_bindings=bindings)
    made = await owner.connect(container)
    table = host.fragments.wanted[f"open/{ID}"]["host"].tables["inet covey0-bridges"]
    assert {name: list(found.elements) for name, found in table.sets.items()} == {
        "open_ports4": ["10.1.0.2 . tcp . 80"],
        "open_ports6": [],
    }
    reached = owner.local.reached_by_host(ID, made.endpoints)
    assert reached is not None
    assert (reached.v4, reached.v6) == ("", "fd01::2")  # IPv6 is translated, so it has ports on the host
    await owner.release(ID)
    assert not any(ID in key for key in host.fragments.wanted)


async def test_a_task_on_a_macvlan_network_of_the_cluster_uses_this_nodes_part_of_it_while_it_runs(host: Host):
    owner = await host.owner()
    await create(owner, "settings", "10.1.0.0/24", config_only=True, options={"parent": "eth7"})
    driver = Driver(name="macvlan")
    wide = Network(id="w" * 25, spec=NetworkSpec(annotations=Annotations(name="wide"), driver=driver, config_from="settings"))  # fmt: skip
    owner.set_networks([wide])
    wanted = config(request(wide.id), mode="", task_id="t")
    made = await owner.connect(wanted)
    (endpoint,) = made.endpoints
    assert (endpoint.name, endpoint.network_id, endpoint.ip) == ("wide", wide.id, "10.1.0.2")
    part = owner.local.networks.get(wide.id)
    assert (part.of_cluster, part.driver, part.options) == (True, "macvlan", {"parent": "eth7"})
    later = await host.owner()
    later.set_networks([wide])
    saved = config(request(wide.id), mode="", task_id="t", netns_path=made.netns_path, networks=made.endpoints)
    await later.adopt(saved)
    assert await later.connect(saved) == made
    await later.release(ID)
    assert later.local.networks.find(wide.id) is None


async def test_networks_that_name_no_mtu_have_that_of_the_hosts_way_out_and_no_jumbo_frames(host: Host):
    for carried, expected in ((9000, 1500), (1460, 1460)):
        host.driver.mtu = carried
        owner = await host.owner()
        await create(owner, f"plain{carried}")
        await create(owner, f"own{carried}", options={"com.docker.network.driver.mtu": "1400"})
        made = await owner.connect(config(request(f"plain{carried}"), request(f"own{carried}"), request("bridge")))
        mtus = [
            host.fragments.wanted[f"endpoint/{ID}/{item.network_id}"][container_key(ID)].links[item.interface].mtu
            for item in made.endpoints
        ]
        assert mtus == [expected, 1400, expected]
        await owner.release(ID)


async def test_networks_that_are_created_at_the_same_time_get_different_subnets(host: Host):
    owner = await host.owner()
    await asyncio.gather(*(create(owner, f"n{number}") for number in range(4)))
    subnets = [network.ipam.configs[0].subnet for network in owner.local.networks.list() if network.ipam.configs]
    assert len(set(subnets)) == len(subnets) == 5
    first, second = await asyncio.gather(*(owner.local.gateway_network(7) for _ in range(2)))
    assert first is second


async def test_a_network_with_a_container_is_not_removed_and_a_removed_one_takes_none(host: Host):
    owner = await host.owner()
    network = owner.local.networks.get(await create(owner, "own"))
    await owner.connect(config(request("own"), mode="own"))
    with pytest.raises(PermissionDeniedError, match="has active endpoints"):
        await owner.local.remove(network)
    await owner.release(ID)
    await owner.local.remove(network)
    with pytest.raises(NotFoundError, match=f"network {network.id} not found"):
        await owner.local.attach(config(), network, request("own"), "eth0")


async def test_an_adopted_container_keeps_what_it_had(host: Host):
    owner = await host.owner()
    await create(owner, "own", "10.1.0.0/24")
    made = await owner.connect(config(request("own", aliases=("db",)), mode="own"))
    before = dict(host.fragments.wanted)
    saved = config(
        request("own"), mode="own", netns_path=made.netns_path, networks=made.endpoints, resolver=made.resolver
    )
    host.fragments.wanted.clear()
    host.driver.calls.clear()
    later = await host.owner()
    await later.adopt(saved)
    assert host.driver.calls == [("adopt", ID, 0, ())]
    assert await later.connect(saved) == made
    assert host.fragments.wanted == before
    with pytest.raises(PermissionDeniedError, match="has active endpoints"):
        await later.local.remove(later.local.networks.get("own"))
    await later.adopt(config(mode="host", netns_path="host"))
    assert len(host.driver.calls) == 1


async def test_a_renamed_container_is_found_by_its_new_name(host: Host):
    owner = await host.owner()
    network = await create(owner, "own")
    made = await owner.connect(config(request("own"), mode="own"))
    await owner.renamed(config(request("own"), mode="own", name="new", networks=made.endpoints))
    zone = host.driver.zones[network]
    assert zone is not None
    assert b"new" in zone.forward
    assert b"web" not in zone.forward


def test_a_link_local_address_and_a_sysctl_reach_the_interface():
    endpoint = EndpointSettings(name="n", ip="10.0.0.2", prefix=24, link_local_ips=("169.254.1.1",))
    assert endpoint_addresses(endpoint) == ("10.0.0.2/24", "169.254.1.1/16")
    options = {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1"}
    assert read_sysctls(options, "eth0") == {"net/ipv4/conf/eth0/log_martians": "1"}
