"""Interfaces that the Engine API needs from the daemon: node status and membership, images, containers and volumes.

``node`` implements ``NodeControl``; the agent provides the rest. Nothing here does work. Times are Unix nanoseconds.
"""

from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from agent.container.api import Containers
from agent.image.store import ImageStore
from agent.volume.local import VolumeStore
from covey.objects import ClusterSpec


class LocalNodeState(StrEnum):
    """Where this node stands, in Docker's words."""

    INACTIVE = "inactive"
    PENDING = "pending"
    ACTIVE = "active"
    ERROR = "error"
    LOCKED = "locked"


class ManagerPeer(msgspec.Struct, frozen=True):
    """A manager that this node knows; ``addr`` is HOST:PORT of its listener for those who join (2377)."""

    node_id: str
    addr: str


class SwarmInit(msgspec.Struct, frozen=True, kw_only=True):
    """``docker swarm init``. Addresses are as the user wrote them: an IP, an interface, either with a port, or empty. On a node of a
    cluster ``force_new_cluster`` founds that cluster anew with this manager alone.
    """

    listen_addr: str = ""
    advertise_addr: str = ""
    data_path_addr: str = ""
    data_path_port: int = 0
    default_address_pool: tuple[str, ...] = ()
    subnet_size: int = 0
    availability: str = ""
    spec: ClusterSpec = ClusterSpec()
    force_new_cluster: bool = False


class SwarmJoin(msgspec.Struct, frozen=True, kw_only=True):
    """``docker swarm join``."""

    listen_addr: str = ""
    advertise_addr: str = ""
    data_path_addr: str = ""
    remote_addrs: tuple[str, ...] = ()
    join_token: str = ""
    availability: str = ""


class SwarmRestore(msgspec.Struct, frozen=True, kw_only=True):
    """``covey swarm restore``: the key that opens the backup, and addresses as with ``SwarmInit``."""

    key: str
    listen_addr: str = ""
    advertise_addr: str = ""

    def __repr__(self) -> str:
        return f"SwarmRestore({self.advertise_addr!r})"


class NodeControl(Protocol):
    """This node's membership. Reads are at once; the verbs return when they are done or raise ``CoveyError``."""

    @property
    def state(self) -> LocalNodeState: ...
    @property
    def error(self) -> str:
        """Why the state is ERROR, for people."""
        ...

    @property
    def node_id(self) -> str:
        """Empty while inactive."""
        ...

    @property
    def engine_id(self) -> str:
        """What identifies this daemon, whether it is in a cluster or not."""
        ...

    @property
    def hostname(self) -> str: ...
    @property
    def state_dir(self) -> str: ...
    @property
    def advertise_addr(self) -> str:
        """The address without a port, as other nodes reach it."""
        ...

    @property
    def join_port(self) -> int:
        """On which managers admit those who join: 2377 unless the daemon was told otherwise."""
        ...

    @property
    def is_manager(self) -> bool: ...
    @property
    def managers(self) -> Sequence[ManagerPeer]: ...

    async def swarm_init(self, request: SwarmInit) -> str:
        """Make a cluster of this node alone; the node's id once its manager serves."""
        ...

    async def swarm_join(self, request: SwarmJoin) -> None: ...
    async def swarm_leave(self, *, force: bool) -> None: ...
    async def swarm_restore(self, request: SwarmRestore, backup: AsyncIterator[bytes]) -> str:
        """Make this host, which is in no cluster, the one manager of the cluster in the backup; the new node's id once it serves."""
        ...

    async def swarm_reconnect(self, addrs: Sequence[str]) -> None:
        """Look for this node's cluster at these addresses too. Returns once they are remembered."""
        ...

    async def swarm_unlock(self, unlock_key: str) -> None:
        """Go on as a manager whose files are locked. ConflictError when they are not."""
        ...


class AgentInterface(Protocol):
    """The part of ``agent.agent.Agent`` that the API uses."""

    @property
    def images(self) -> ImageStore: ...
    @property
    def containers(self) -> Containers: ...
    @property
    def volumes(self) -> VolumeStore: ...
