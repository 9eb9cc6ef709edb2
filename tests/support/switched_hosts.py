"""Hosts in network namespaces on one switch, each with its own network driver, for network tests.

Every test has its own names and removes them, even if it fails. No packet leaves the namespaces that are created here.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import dnslib
import msgspec

from agent.container.model import ContainerConfig, EndpointSettings, NetworkRequest
from agent.endpoint.local_endpoints import LocalEndpoints
from agent.local_network.model import GATEWAY
from agent.local_network.networks import LocalNetworks
from agent.network import links, netns
from agent.network.driver import GATEWAY_BRIDGE, NetworkDriver
from agent.network.model import Attachment, NetworkChanges, OverlayNetwork
from agent.network.netns import Namespace
from agent.network.wireguard.rotation import RotationTimes
from covey.objects.assignment import NetworkEndpoint, NodeEndpoint, VirtualService
from tests.support import built_links

SECONDS = 5.0
SUBNET = "10.0.1.0/24"


def overlay(
    network_id: str = "net1", *, vni: int = 4097, name: str = "web", subnet: str = SUBNET, mtu: int = 0
) -> OverlayNetwork:
    gateway = subnet.rpartition(".")[0] + ".1"
    return OverlayNetwork(id=network_id, name=name, vni=vni, subnet=subnet, gateway=gateway, mtu=mtu)


class HostUnderTest:
    def __init__(
        self,
        name: str,
        address: str,
        folder: Path,
        namespace: Namespace,
        *,
        prefix: str = GATEWAY_BRIDGE,
        times: RotationTimes | None = None,
    ) -> None:
        self.name, self.address, self.folder, self.namespace = name, address, folder, namespace
        self.prefix, self.times = prefix, times
        self.nameservers: tuple[str, ...] = ("10.99.0.254",)
        self.driver = self.new_driver()
        self._local: tuple[NetworkDriver, LocalEndpoints] | None = None

    async def connect(self, container_id: str, network: str, interface: str) -> EndpointSettings:
        """Connect a container to a network of this host alone, or to `docker_gwbridge`, the way out of overlay networks."""
        local = await self._local_endpoints()
        found = await local.gateway_network(7) if network == GATEWAY else local.networks.get(network)
        config = ContainerConfig(id=container_id, name=container_id, image="", image_id="", args=())
        endpoint = await local.attach(config, found, NetworkRequest(network=network), interface)
        await local.settle(config, (endpoint,))
        return endpoint

    async def disconnect(self, container_id: str) -> None:
        """Disconnect a container from the networks of this host, and remove its sandbox."""
        await (await self._local_endpoints()).detach_all(container_id)
        await self.driver.destroy_sandbox(container_id)

    async def _local_endpoints(self) -> LocalEndpoints:
        if self._local is None or self._local[0] is not self.driver:
            registry = LocalNetworks(self.folder / "networks.db", engine_id=self.name, bridge=GATEWAY_BRIDGE)
            self._local = (self.driver, LocalEndpoints(registry, self.driver, self.driver.reconciler, GATEWAY_BRIDGE))
            await self._local[1].open()
        return self._local[1]

    def new_driver(self, manages_firewall: Callable[[], bool] = lambda: False) -> NetworkDriver:
        return NetworkDriver(
            self.address,
            self.folder,
            lambda: self.nameservers,
            gateway_bridge=self.prefix,
            host_netns=self.namespace.path,
            rotation_times=self.times,
            manages_firewall=manages_firewall,
        )


class Container:
    """Sandbox on a host, and sockets inside it."""

    def __init__(self, host: HostUnderTest, container_id: str, endpoint: NetworkEndpoint, path: str) -> None:
        self.host, self.id, self.endpoint = host, container_id, endpoint
        self.namespace = Namespace(path)

    async def run(self, work: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(self.namespace.run, work)

    async def fetch(self, address: str, port: int = 80) -> str:
        """Greeting of the server at the address."""

        def call() -> str:
            with socket.create_connection((address, port), timeout=SECONDS) as link:
                return link.recv(100).decode()

        return await self.run(call)

    async def connect(self, address: str, port: int = 80) -> socket.socket:
        return await self.run(lambda: socket.create_connection((address, port), timeout=SECONDS))

    async def resolve(self, name: str, kind: str = "A", *, tcp: bool = False) -> dnslib.DNSRecord:
        question = dnslib.DNSRecord.question(name, kind)
        answer = await self.run(lambda: question.send("127.0.0.11", 53, tcp=tcp, timeout=SECONDS))
        return dnslib.DNSRecord.parse(answer)

    async def addresses(self, name: str) -> list[str]:
        return sorted(str(item.rdata) for item in (await self.resolve(name)).rr)


class SwitchedHosts:
    """Hosts on one switch. `networks`, `endpoints` and `services` are the cluster's state; `apply` applies it to every host."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self.hosts: list[HostUnderTest] = []
        self.networks: list[OverlayNetwork] = []
        self.endpoints: dict[str, NetworkEndpoint] = {}
        self.services: list[VirtualService] = []
        self.nodes: list[NodeEndpoint] = []
        self._applied = NetworkChanges()
        self.switch = self._namespace("switch")
        links.run_in_namespace(
            self.switch, "switch", lambda route: built_links.ensure_bridge(route, "sw0", 1500, "10.99.0.254/24")
        )

    def _namespace(self, name: str) -> Namespace:
        path = self.folder / name
        netns.create(path)
        namespace = Namespace(str(path))

        def remove() -> None:
            links.run_in_namespace(namespace, "tear down", links.delete_all_links)
            namespace.close()
            netns.remove(path)

        self._stack.callback(remove)
        links.run_in_namespace(namespace, "loopback", links.set_loopback_up)
        return namespace

    async def add_host(
        self, mtu: int = 1500, *, prefix: str = GATEWAY_BRIDGE, times: RotationTimes | None = None
    ) -> HostUnderTest:
        number = len(self.hosts) + 1
        namespace = self._namespace(f"host{number}")
        address = f"10.99.0.{number}"

        def plug(route: Any) -> None:
            port = built_links.add_veth(
                route, f"p{number}", namespace, inner="eth0", inner_mac=f"02:99:00:00:00:0{number}", mtu=mtu
            )
            built_links.join_bridge(route, port, links.index_of(route, "sw0"), static_fdb=False)

        def settle(route: Any) -> None:
            index = links.index_of(route, "eth0")
            built_links.ensure_address(route, index, f"{address}/24")
            route.link("set", index=index, state="up")
            route.route("replace", dst="default", gateway="10.99.0.254")

        links.run_in_namespace(self.switch, "plug", plug)
        links.run_in_namespace(namespace, "settle", settle)
        host = HostUnderTest(
            f"host{number}", address, self.folder / f"run{number}", namespace, prefix=prefix, times=times
        )
        self.hosts.append(host)
        await host.driver.start()
        self._stack.push_async_callback(self._end, host)
        return host

    async def _end(self, host: HostUnderTest) -> None:
        await host.driver.remove_everything()
        await host.driver.close()

    async def run_task(
        self,
        host: HostUnderTest,
        last: int,
        *,
        service: str = "",
        network: str = "net1",
        ready: bool = True,
        ipv6: str = "",
        nameservers: Sequence[str] = (),
    ) -> Container:
        """Create a container on the host at 10.0.1.LAST, and at IPV6LAST if a prefix such as `fd00:1::` is given. Call `apply` to tell the other hosts."""
        container_id = f"c{last}{secrets.token_hex(6)}"
        subnet = next(item.subnet for item in self.networks if item.id == network).rpartition(".")[0]
        endpoint = NetworkEndpoint(
            id=f"task{last}/{network}", task_id=f"task{last}", network_id=network, node_id=host.name, host=host.address, address=f"{subnet}.{last}",
            service_id=f"id-{service}" if service else "", service_name=service, task_name=f"{service or 'task'}.{last}",
            hostname=f"h{last}", ready=ready, address6=f"{ipv6}{last}" if ipv6 else "",
        )  # fmt: skip
        address6 = f"{endpoint.address6}/64" if ipv6 else ""
        attachment = Attachment(network, f"{endpoint.address}/24", "eth0", address6=address6)
        path = await host.driver.create_sandbox(container_id, nameservers=nameservers)
        await host.driver.attach(container_id, attachment)
        self.endpoints[endpoint.task_id] = endpoint
        container = Container(host, container_id, endpoint, path)
        self._stack.callback(container.namespace.close)
        return container

    async def apply(self) -> None:
        """Apply the networks, endpoints and services to every host."""
        now = NetworkChanges(tuple(self.networks), tuple(self.endpoints.values()), tuple(self.services))
        now = msgspec.structs.replace(now, nodes=tuple(self.nodes))
        changes = msgspec.structs.replace(
            now,
            removed_networks=_gone(self._applied.networks, now.networks),
            removed_endpoints=_gone(self._applied.endpoints, now.endpoints),
            removed_services=_gone(self._applied.services, now.services),
            removed_nodes=_gone(self._applied.nodes, now.nodes),
        )
        self._applied = now
        for host in self.hosts:
            assert await host.driver.apply(changes) == ()

    async def serve(self, container: Container, port: int = 80, greeting: str = "") -> None:
        """Answer every connection with the container's address and close it, or send the greeting and echo until the peer closes."""
        text = (greeting or container.endpoint.address).encode()

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(text)
            await writer.drain()
            if greeting == "":
                writer.close()
                return
            try:
                while data := await reader.read(100):
                    writer.write(data)
            except (OSError, asyncio.CancelledError):
                writer.close()

        def listen() -> socket.socket:
            if not container.endpoint.address6:
                return socket.create_server(("0.0.0.0", port), backlog=128)
            return socket.create_server(("::", port), family=socket.AF_INET6, backlog=128, dualstack_ipv6=True)

        listening = await container.run(listen)
        server = await asyncio.start_server(greet, sock=listening)
        self._stack.callback(server.close)

    async def count_answers(self, client: Container, address: str, calls: int) -> Counter[str]:
        return Counter([await client.fetch(address) for _ in range(calls)])


def _gone(before: Sequence[Any], now: Sequence[Any]) -> tuple[str, ...]:
    return tuple(sorted({item.id for item in before} - {item.id for item in now}))


@asynccontextmanager
async def switched_hosts(folder: Path, hosts: int, *, mtu: int = 1500) -> AsyncIterator[SwitchedHosts]:
    async with AsyncExitStack() as stack:
        net = SwitchedHosts(folder, stack)
        for _ in range(hosts):
            await net.add_host(mtu)
        yield net


async def receive(link: socket.socket) -> bytes:
    """Receive from the peer on a thread, while the event loop serves the peer."""
    return await asyncio.to_thread(link.recv, 100)


async def eventually(condition: Callable[[], Any], seconds: float = SECONDS) -> None:
    """Wait until the condition, which may be awaitable, is true."""
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return
            await asyncio.sleep(0.02)
