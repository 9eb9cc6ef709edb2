"""Interfaces that the Engine API needs from the daemon: node status and membership, images, containers and volumes.

``node`` implements ``NodeControl``; the agent provides the rest. Nothing here does work. Times are Unix nanoseconds.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec

from agent.build.model import BuildReport, BuildRequest, BuiltImage, CacheRecord
from agent.container.api import Containers
from agent.container.model import NetworkRequest
from agent.event_bus import EventBus
from agent.image.job import JobFollower
from agent.image.model import (
    CommitRequest,
    HistoryEntry,
    Image,
    ImageRemoval,
    PulledImage,
    PushedImage,
    RemoteImage,
    SearchResult,
)
from agent.image.registry.auth_config import Credentials
from agent.local_network.model import LocalNetwork, NetworkEvent, NetworkRequirements
from agent.network.plan.difference_text import DifferenceText
from agent.network.plan.dropped_packets import DroppedPackets
from agent.volume.model import VolumeEvent
from covey.objects import ClusterSpec, Network


class LocalNodeState(StrEnum):
    """State of this node in the cluster, in Docker's terms."""

    INACTIVE = "inactive"
    PENDING = "pending"
    ACTIVE = "active"
    ERROR = "error"
    LOCKED = "locked"


class ManagerPeer(msgspec.Struct, frozen=True):
    """A manager that this node knows; ``addr`` is HOST:PORT of its listener for joining nodes (2377)."""

    node_id: str
    addr: str


class SwarmInit(msgspec.Struct, frozen=True, kw_only=True):
    """``docker swarm init``. Addresses are as the user wrote them: an IP or interface, with or without a port, or empty. On a manager,
    ``force_new_cluster`` continues its cluster with this manager alone.
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
    """``covey swarm restore``: the key that decrypts the backup, and addresses as in ``SwarmInit``."""

    key: str
    listen_addr: str = ""
    advertise_addr: str = ""

    def __repr__(self) -> str:
        return f"SwarmRestore({self.advertise_addr!r})"


class LocalNodeInfo(Protocol):
    """Status of this node. Reading it is immediate and never touches a disk."""

    @property
    def state(self) -> LocalNodeState: ...
    @property
    def error(self) -> str:
        """Human-readable reason why the node is not working, or an empty string."""
        ...

    @property
    def node_id(self) -> str:
        """Empty while inactive."""
        ...

    @property
    def engine_id(self) -> str:
        """Id of this daemon, in a cluster or not."""
        ...

    @property
    def hostname(self) -> str: ...
    @property
    def state_dir(self) -> str: ...
    @property
    def advertise_addr(self) -> str:
        """The address without a port, as other nodes reach it."""
        ...

    def join_addr(self, mtls_addr: str) -> str:
        """Where nodes join through the manager that has this mTLS address."""
        ...

    @property
    def is_manager(self) -> bool: ...
    @property
    def managers(self) -> Sequence[ManagerPeer]: ...


class NodeControl(Protocol):
    """Changes of this node's membership. Each returns when it is done, or raises a ``CoveyError``."""

    @property
    def info(self) -> LocalNodeInfo: ...

    async def swarm_init(self, request: SwarmInit) -> str:
        """Create a cluster with this node as its only manager. Returns the node's id once the manager serves."""
        ...

    async def swarm_join(self, request: SwarmJoin) -> None: ...
    async def swarm_leave(self, *, force: bool) -> None: ...
    async def swarm_restore(self, request: SwarmRestore, backup: AsyncIterator[bytes]) -> str:
        """Create a cluster from a backup on this host, which is in none. Returns the new node's id once the manager serves."""
        ...

    async def swarm_reconnect(self, addrs: Sequence[str]) -> None:
        """Look for this node's cluster at these addresses too. Returns once they are stored."""
        ...

    async def swarm_unlock(self, unlock_key: str) -> None:
        """Unlock a locked manager. ConflictError if it is not locked."""
        ...


class Images(Protocol):
    """The images of this host; implemented by ``agent.image.store.ImageStore``. A name is a reference, an id or a unique prefix of one."""

    def get(self, name: str) -> Image: ...
    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> tuple[Image, ...]: ...
    def history(self, name: str) -> tuple[HistoryEntry, ...]: ...
    def disk_bytes(self) -> int:
        """Size of all unpacked layers, each counted once."""
        ...

    def get_for_platform(self, name: str, platform: str) -> Image:
        """The image. NotFoundError if it is for another platform than ``platform``, unless that is empty."""
        ...

    async def load(self, source: AsyncIterator[bytes], /, *, platform: str = "") -> tuple[str, ...]:
        """Load an archive of ``docker save`` or an OCI layout. Returns its tags, and the ids of untagged images."""
        ...

    def loading(
        self, source: AsyncIterator[bytes], /, *, platform: str = ""
    ) -> AbstractContextManager[JobFollower[tuple[str, ...]]]:
        """Load an archive as a job that its caller follows."""
        ...

    async def import_(
        self,
        source: AsyncIterator[bytes],
        name: str = "",
        /,
        *,
        message: str = "",
        changes: Sequence[str] = (),
        architecture: str = "",
    ) -> str:
        """Create an image from a root file system's tar archive. Returns its id."""
        ...

    async def commit(self, request: CommitRequest, source: AbstractAsyncContextManager[Path]) -> str:
        """Create an image from another one and the writable layer of a container. Returns its id."""
        ...

    def save(self, names: Sequence[str], *, platform: str = "") -> AsyncIterator[bytes]:
        """An archive of these images. Every name is resolved before the first byte."""
        ...

    async def tag(self, name: str, target: str) -> None: ...
    async def remove(self, name: str, *, force: bool = False) -> tuple[ImageRemoval, ...]:
        """Remove a tag, and with the last tag the image. ConflictError while a container uses it."""
        ...

    async def prune(
        self, *, unused: bool = False, filters: Mapping[str, Sequence[str]] | None = None
    ) -> tuple[tuple[ImageRemoval, ...], int]:
        """Remove untagged images, or with ``unused`` all that no container uses. Returns what was removed, and the bytes freed."""
        ...


class Builds(Protocol):
    """Builds on this host; implemented by ``agent.build.service.BuildService``."""

    async def build(self, request: BuildRequest, source: AsyncIterator[bytes], report: BuildReport) -> BuiltImage:
        """Build an image from the tar of a context. A cancelled call leaves nothing of the build but its cache."""
        ...

    async def cache(self) -> Sequence[CacheRecord]: ...
    async def prune(self, before_ns: int | None = None) -> Sequence[CacheRecord]:
        """Delete the build cache, or what in it was made before a time. Returns what is gone. Nothing is while a build runs."""
        ...


class UrlDownload(Protocol):
    """A download that has begun. ``size`` is 0 if it was not announced."""

    @property
    def url(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def chunks(self) -> AsyncIterator[bytes]: ...


class Registries(Protocol):
    """Registries as this host reaches them; implemented by ``agent.image.registry.service.RegistryService``.

    Long work is followed by its caller: the block that it is entered with ends when the caller leaves.
    """

    def pull(
        self, name: str, *, platform: str = "", credentials: Credentials = ...
    ) -> AbstractContextManager[JobFollower[tuple[PulledImage, ...]]]:
        """Pull a tag (``latest`` by default) or a digest."""
        ...

    def pull_all_tags(
        self, name: str, *, platform: str = "", credentials: Credentials = ...
    ) -> AbstractContextManager[JobFollower[tuple[PulledImage, ...]]]:
        """Pull every tag of a repository."""
        ...

    def push(
        self, name: str, *, all_tags: bool = False, credentials: Credentials = ...
    ) -> AbstractContextManager[JobFollower[tuple[PushedImage, ...]]]:
        """Push a tag (``latest`` by default), or every tag of the repository."""
        ...

    def describe(self) -> Mapping[str, object]:
        """The configuration as ``docker info`` shows it: RegistryConfig."""
        ...

    def download(self, url: str) -> AbstractAsyncContextManager[UrlDownload]:
        """Download a file by its URL, for an import."""
        ...

    async def login(self, credentials: Credentials) -> str:
        """Check credentials with their registry. Returns the identity token it gives, if any."""
        ...

    async def inspect(self, name: str, credentials: Credentials = ...) -> RemoteImage:
        """What a registry has under a name."""
        ...

    async def search(
        self, term: str, limit: int | None, filters: Mapping[str, Sequence[str]], credentials: Credentials = ...
    ) -> tuple[SearchResult, ...]: ...


class Volume(Protocol):
    """A volume of this host."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def options(self) -> Mapping[str, str]: ...
    @property
    def created_at_ns(self) -> int: ...
    @property
    def is_anonymous(self) -> bool: ...


class Volumes(Protocol):
    """The volumes of this host; implemented by ``agent.volume.local.VolumeStore``. `Containers` removes volumes."""

    def create(
        self, name: str, *, driver: str, labels: Mapping[str, str], options: Mapping[str, str], now_ns: int
    ) -> Volume: ...
    def get(self, name: str) -> Volume: ...
    def list(self) -> Sequence[Volume]: ...
    def data_path(self, name: str) -> Path: ...
    async def size_bytes(self, name: str) -> int: ...
    @property
    def events(self) -> EventBus[VolumeEvent]:
        """Events of creation, use and removal."""
        ...


class LocalNetworkRegistry(Protocol):
    """The networks of this host alone; implemented by ``agent.local_network.networks.LocalNetworks``."""

    def list(self) -> Sequence[LocalNetwork]: ...
    def find(self, ref: str) -> LocalNetwork | None:
        """The network with this id, name or unique beginning of an id."""
        ...

    def is_used(self, network: LocalNetwork) -> bool:
        """Whether a container is connected to it, or another network depends on it."""
        ...

    @property
    def events(self) -> EventBus[NetworkEvent]:
        """Events of creation and removal."""
        ...


class LocalEndpoints(Protocol):
    """Changes of the networks of this host alone; implemented by ``agent.endpoint.local_endpoints.LocalEndpoints``."""

    @property
    def networks(self) -> LocalNetworkRegistry: ...
    def check_request(self, network: LocalNetwork, request: NetworkRequest) -> None:
        """Refuse what no container can have on the network, in Docker's words."""
        ...

    async def create(self, wanted: NetworkRequirements, now_ns: int) -> LocalNetwork: ...
    async def remove(self, network: LocalNetwork) -> None: ...
    async def remove_stale(self, network: LocalNetwork, container: str) -> bool:
        """Remove the endpoint of a container that is gone. Returns False if there is none."""
        ...


class LocalNetworks(Protocol):
    """The networks of this host; implemented by ``agent.endpoint.container_networks.EndpointOwner``."""

    @property
    def local(self) -> LocalEndpoints: ...

    @property
    def networks(self) -> Sequence[Network]:
        """The networks of the cluster that containers of this host use."""
        ...


class NetworkVerification(Protocol):
    """The kernel's network state of this host; implemented by ``agent.network.driver.NetworkDriver``."""

    @property
    def warnings(self) -> Sequence[str]:
        """Rules of the host's own firewall that drop containers' packets."""
        ...

    async def verify(self) -> Sequence[DifferenceText]:
        """How it differs from what is wanted."""
        ...

    async def dropped_packets(self) -> DroppedPackets:
        """What its guard of overlay networks counted."""
        ...

    async def repair(self) -> Sequence[DifferenceText]:
        """Carry the differences out. Returns those that were found."""
        ...

    async def read(self, namespaces: Collection[str]) -> bytes:
        """What the kernel holds in these namespaces of this host, for `agent.network.trace.reading.decode`."""
        ...


class AgentInterface(Protocol):
    """The parts of the agent that the API uses; implemented by ``agent.agent.Agent``."""

    @property
    def images(self) -> Images: ...
    @property
    def registries(self) -> Registries: ...
    @property
    def builds(self) -> Builds: ...
    @property
    def containers(self) -> Containers: ...
    @property
    def volumes(self) -> Volumes: ...
    @property
    def endpoints(self) -> LocalNetworks: ...
    @property
    def networks(self) -> NetworkVerification: ...
    @property
    def warnings(self) -> Sequence[str]:
        """What is wrong at the moment and does not stop the daemon."""
        ...
