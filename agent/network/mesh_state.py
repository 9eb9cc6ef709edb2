"""The routing mesh of this node: the fragments that follow from what it was told of the ingress network, and connections that end. Pure.

Invariant: `take_changes` returns only fragments that may have changed: a change of one task costs its own fragment and its service's
ports. Invariant: nothing is published before this node itself has an address on the ingress network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address, ip_network

import msgspec

from agent.network.mesh_assignments import BASE, MeshAssignments, addresses_of
from agent.network.namespace_state import Fragment
from agent.network.plan import mesh as plan
from agent.network.plan.encryption import node_address
from agent.network.plan.mesh_model import LocalTask, Mesh, MeshBackend, MeshNode, MeshPort
from covey.network_options import requested_mtu, uses_mesh_snat
from covey.objects import PortConfig
from covey.objects.assignment import AssignmentChange, NetworkEndpoint, NodeEndpoint, VirtualService
from covey.states import PublishMode


class MeshHost(msgspec.Struct, frozen=True, kw_only=True):
    """What the mesh must know of this host: `host` and `port` are its end of the tunnels, and `host` tells which of the nodes it is.

    `mtu` is what its network leaves for a packet in the tunnel, `encrypted_mtu` in an encrypted one, `container_subnets` are the addresses
    of its containers. `no_encryption` is why this host cannot encrypt, empty if it can.
    """

    prefix: str
    host: str = ""
    port: int = 4789
    mtu: int = 1450
    encrypted_mtu: int = 1370
    no_encryption: str = ""
    container_subnets: tuple[str, ...] = ()


class EndedFlows(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses that connections must not lead to any more: UDP flows to those in `udp`, every connection to those that are `gone`."""

    udp: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()


class PublishedServicePort(msgspec.Struct, frozen=True, kw_only=True):
    """A port that this node answers on for a service."""

    service_id: str
    service_name: str
    protocol: str
    number: int


class MeshState:
    """One per daemon."""

    def __init__(self, host: MeshHost) -> None:
        self.host = host
        self._known = MeshAssignments(host.host)
        self._keys: dict[str, set[str]] = {}
        self._udp_backends: dict[str, frozenset[str]] = {}
        self._ended_udp: set[str] = set()

    def set_host(self, host: MeshHost) -> None:
        if host != self.host:
            self.host, self._known.host = host, host.host
            self._known.everything_changed()

    def apply(self, changes: Iterable[AssignmentChange]) -> None:
        """Take over assignments. Those of other networks are ignored."""
        self._known.apply(changes)

    def set_container(self, task_id: str, container: LocalTask | None) -> None:
        """A task's container on this node, None once it is gone."""
        self._known.set_container(task_id, container)

    @property
    def refusal(self) -> str:
        """Why this node takes no part in the mesh; empty if it may."""
        if not self._known.encrypted or not self.host.no_encryption:
            return ""
        return f"this node does not answer on published ports, because the mesh is encrypted, and {self.host.no_encryption}"

    @property
    def has_changes(self) -> bool:
        return bool(self._known.changed)

    def ports(self) -> list[PublishedServicePort]:
        """The ports on which this node answers."""
        if self._mesh() is None:
            return []
        return [
            PublishedServicePort(
                service_id=service.service_id,
                service_name=service.name,
                protocol=port.protocol.name.lower(),
                number=port.published_port,
            )
            for service in self._known.services.values()
            for port in _ingress_ports(service)
        ]

    def take_changes(self) -> dict[str, Fragment | None]:
        """The fragments to put, and None for those to drop, since the last call."""
        mesh = self._mesh()
        dropped: set[str] = set()
        made: dict[str, Fragment | None] = {}
        for part in sorted(self._known.changed):
            wanted = dict(self._fragments(part, mesh)) if mesh is not None else {}
            dropped |= self._keys.pop(part, set()) - wanted.keys()
            if wanted:
                self._keys[part] = set(wanted)
            made.update(wanted)
        self._known.changed.clear()
        # A part of one ingress network that goes may have the key of a part of the next one.
        return {**dict.fromkeys(sorted(dropped - made.keys())), **made}

    def take_ended_flows(self) -> EndedFlows:
        """The addresses that lost their connections since the last call. To be asked for after the fragments are applied."""
        ended = EndedFlows(udp=frozenset(self._ended_udp), gone=frozenset(self._known.gone))
        self._ended_udp, self._known.gone = set(), set()
        return ended

    def _mesh(self) -> Mesh | None:
        own = self._known.own
        if self._known.network is None or own is None or self.refusal:
            return None
        node = self._node(own)
        if node is None:
            return None
        options, mtu = self._known.network.spec.driver.options, self.host.mtu
        return Mesh(
            prefix=self.host.prefix,
            vni=self._known.network.vni,
            port=self.host.port,
            mtu=requested_mtu("ingress", options) or (self.host.encrypted_mtu if self._known.encrypted else mtu),
            own=msgspec.structs.replace(node, host=self.host.host),
            container_subnets=self.host.container_subnets,
            snat=uses_mesh_snat("ingress", options),
            encrypted=self._known.encrypted,
        )

    def _fragments(self, part: str, mesh: Mesh) -> Iterator[tuple[str, Fragment]]:
        """The fragments of one part: the base, a node, a task or a service."""
        kind, _, key = part.partition(" ")
        if kind == BASE:
            yield BASE, plan.base(mesh)
        elif kind == "node" and (known := self._known.nodes.get(key)) and known.host != self.host.host:
            peer = self._peer(known)
            if peer is not None and peer.host:
                yield f"mesh/node/{known.node_id}", plan.node(mesh, peer)
        elif kind == "task" and (task := self._known.tasks.get(key)):
            yield from self._task_fragments(mesh, task)
        elif kind == "service" and (service := self._known.services.get(key)):
            yield from self._service_fragments(mesh, service)

    def _task_fragments(self, mesh: Mesh, task: NetworkEndpoint) -> Iterator[tuple[str, Fragment]]:
        identity = MeshBackend(address=task.address, address6=task.address6)
        key = f"mesh/task/{task.task_id}"
        if self._known.is_own(task.node_id):
            container = self._known.containers.get(task.task_id)
            if container is not None:
                yield key, plan.local_task(mesh, identity, container)
            return
        peer = self._peer_of(task)
        if peer is not None:
            yield key, plan.remote_task(mesh, identity, peer)

    def _service_fragments(self, mesh: Mesh, service: VirtualService) -> Iterator[tuple[str, Fragment]]:
        tasks = self._known.tasks_of(service.service_id)
        backends = [found for task in tasks if task.ready and (found := self._backend(task)) is not None]
        for port in _ingress_ports(service):
            protocol = port.protocol.name.lower()
            wanted = MeshPort(
                service_id=service.service_id, protocol=protocol, number=port.published_port, target=port.target_port
            )
            if protocol == "udp":
                self._note_udp_backends(port.published_port, backends)
            yield f"mesh/port/{protocol}/{port.published_port}", plan.published(mesh, wanted, backends)

    def _note_udp_backends(self, port: int, backends: Sequence[MeshBackend]) -> None:
        """A flow of datagrams has no end by itself: it leaves a task as soon as the task is not ready."""
        key, now = f"udp/{port}", frozenset(addresses_of(backends))
        self._ended_udp |= self._udp_backends.get(key, frozenset()) - now
        self._udp_backends[key] = now

    def _backend(self, task: NetworkEndpoint) -> MeshBackend | None:
        if self._known.is_own(task.node_id):
            return self._known.containers.get(task.task_id)
        if self._known.encrypted and self._peer_of(task) is None:
            return None
        return MeshBackend(address=task.address, address6=task.address6)

    def _peer_of(self, task: NetworkEndpoint) -> MeshNode | None:
        node = self._known.node_of(task)
        return self._peer(node) if node is not None else None

    def _peer(self, node: NodeEndpoint) -> MeshNode | None:
        """Another node, and where its end of the tunnel is. None if it cannot be reached."""
        found = self._node(node)
        if found is None or not self._known.encrypted:
            return found
        if node.wireguard is None or not node.wireguard.public_key:
            return None
        return msgspec.structs.replace(found, tunnel=node_address(node.node_id))

    def _node(self, node: NodeEndpoint) -> MeshNode | None:
        """The node with its number: its place in the subnet. None before it has an address."""
        if self._known.network is None or not node.address:
            return None
        subnet = next(
            (
                ip_network(config.subnet)
                for config in self._known.network.ipam.configs
                if ":" not in config.subnet and ip_address(node.address) in ip_network(config.subnet)
            ),
            None,
        )
        if subnet is None:
            return None
        number = int(ip_address(node.address)) - int(subnet.network_address)
        return MeshNode(
            number=number,
            host=node.host,
            address=node.address,
            address6=node.address6,
            mac=node.mac,
            clients=node.addresses,
        )


def _ingress_ports(service: VirtualService) -> Sequence[PortConfig]:
    return [port for port in service.ports if port.publish_mode is PublishMode.INGRESS and port.published_port]
