"""Data types of the routing mesh: the ingress network on this host, its nodes, tasks and published ports. Pure."""

from __future__ import annotations

import msgspec


class MeshNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node on the ingress network. `number` (1 to 65,535) is its place in the subnet, by which all nodes know it.

    `host` is its underlay address, `clients` are all that its own programs may send from. `tunnel` is where its end of the tunnel is
    reached: the underlay address, or that inside the encrypted tunnels.
    """

    number: int
    host: str
    address: str
    address6: str = ""
    mac: str
    clients: tuple[str, ...] = ()
    tunnel: str = ""


class MeshBackend(msgspec.Struct, frozen=True, kw_only=True):
    """A task as connections are led to it: its identity, or if it runs here the addresses of its container."""

    address: str
    address6: str = ""


class LocalTask(MeshBackend, frozen=True, kw_only=True):
    """The container of a task on this node, behind a device of the host. `neighbours` are addresses whose replies to it do not come
    back through the host.
    """

    device: str = ""
    neighbours: tuple[str, ...] = ()


class MeshPort(msgspec.Struct, frozen=True, kw_only=True):
    """A port that a service publishes on every node, and the port of its containers."""

    service_id: str
    protocol: str
    number: int
    target: int


class Mesh(msgspec.Struct, frozen=True, kw_only=True):
    """The ingress network on this host. `own` is this node. `container_subnets` are the addresses of its containers, in which replies
    between neighbours would not come back through the host. `snat` hides clients behind their entry node.
    """

    prefix: str
    vni: int
    port: int
    mtu: int
    own: MeshNode
    container_subnets: tuple[str, ...] = ()
    snat: bool = False
    encrypted: bool = False

    @property
    def device(self) -> str:
        return f"{self.prefix}mesh"

    @property
    def table(self) -> str:
        return mesh_table(self.prefix)


def mesh_table(prefix: str) -> str:
    """The name of the mesh's table of nftables."""
    return f"inet {prefix}-mesh"
