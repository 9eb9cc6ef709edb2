"""Image sharing of a node: reports its images to the leader, serves them, and gets images from peers or the registry.

Invariant: a node asks the leader before it pulls an image for a task, so that a registry is asked once for all nodes.
Without a leader it pulls by itself.

`run` belongs to one membership. The session sends the reports; `Worker` and the session's fetch requests call the rest.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from grpc import aio

from agent.identity import IdentityStore
from agent.image.content.repository import ImageRepository
from agent.image.model import Progress
from agent.image.peer.client import ImagePeer
from agent.image.peer.fetch import PeerFetcher
from agent.image.peer.server import PeerServer
from covey import image_reference
from covey.clock import SECOND
from covey.errors import CoveyError, NotFoundError, UnavailableError
from covey.grpc_errors import error_from_status
from coveypb.v1 import dispatcher_pb2

log = logging.getLogger(__name__)

CALL_SECONDS = 10.0
FAILED_PEERS = 30
REPORTED_IMAGES = 2_000
REPORTED_NAMES = 100
_RETRY_SECONDS = 5.0

_Response = dispatcher_pb2.LocateImageResponse


class SharingAddress(msgspec.Struct, frozen=True):
    """Where this node serves images: the address to listen on (empty for all), the one that others use, and the port (0: none)."""

    listen_addr: str
    advertise_addr: str
    port: int


class ImageSharing:
    """One per daemon."""

    def __init__(self, repository: ImageRepository, run_dir: Path) -> None:
        self._repository = repository
        self._run_dir = run_dir
        self._fetcher: PeerFetcher | None = None
        self._dispatcher: Any = None
        self._addr = ""
        self.on_addr_change: Callable[[], None] = lambda: None
        """Called after each change of `addr`."""
        self.warning = ""
        """Why this node serves no images although it should, for the user; empty if it serves, or is not to."""

    # --- membership ---

    async def run(self, identities: IdentityStore, address: SharingAddress) -> None:
        """Serve and fetch until cancelled. A port that is in use is tried again; meanwhile this node serves no images."""
        fetcher = PeerFetcher(self._repository, identities, self._run_dir)
        await fetcher.open()
        self._fetcher = fetcher
        try:
            server = PeerServer(self._repository, identities, self._run_dir, self._authorize)
            while True:
                if not address.port:
                    await asyncio.Event().wait()
                try:
                    async with server.serving(address.listen_addr or None, address.port):
                        self._set_addr(_host_port(address.advertise_addr, address.port))
                        self.warning = ""
                        await asyncio.Event().wait()
                except UnavailableError as error:
                    self._warn(error.message)
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            self._set_addr("")
            self._fetcher, self.warning = None, ""
            await fetcher.close()

    @property
    def addr(self) -> str:
        """HOST:PORT where this node serves its images; empty while it does not."""
        return self._addr

    def _warn(self, text: str) -> None:
        if text != self.warning:
            log.warning("%s", text)
        self.warning = text

    def set_dispatcher(self, stub: Any) -> None:
        """The leader's dispatcher while there is a session; None without one."""
        self._dispatcher = stub

    def report(self) -> dispatcher_pb2.ImageReport:
        """The images of this host, for the leader."""
        report = dispatcher_pb2.ImageReport(addr=self._addr)
        images = sorted(self._repository.images.values(), key=lambda image: (image.created, image.id), reverse=True)
        for image in images[:REPORTED_IMAGES]:
            names = [*image.repo_tags, *image.repo_digests][:REPORTED_NAMES]
            report.images.add(id=image.id, names=names, size_bytes=image.size)
        return report

    @property
    def report_version(self) -> int:
        """Grows when `report` may return something new."""
        return self._repository.version

    async def wait_newer_report(self, version: int) -> None:
        """Wait until `report_version` is newer than this one."""
        await self._repository.wait_newer(version)

    # --- getting images ---

    async def acquire(self, reference: str, pull: Callable[[], Awaitable[None]]) -> None:
        """Make this host have an image that a task needs: from other nodes, or with `pull`, as the leader says.

        Raises:
            CoveyError: the error of the registry, or of the last peer if the registry must not be asked.
        """
        failure: CoveyError | None = None
        registry_failed, failed_peers = False, list[str]()
        while True:
            found = await self._locate(reference, failed_peers, registry_failed=registry_failed)
            if found.action == _Response.ACTION_WAIT:
                await asyncio.sleep(found.wait_ns / SECOND)
                failed_peers.clear()  # one of them may be the node that was waited for
            elif found.action == _Response.ACTION_PEERS and len(failed_peers) < FAILED_PEERS:
                try:
                    await self.fetch(found.image_id, _peers(found.peers), [reference])
                except CoveyError as error:
                    log.info("%s: %s", reference, error.message)
                    failure = failure or error
                    failed_peers += [peer.node_id for peer in found.peers]
                else:
                    return
            elif registry_failed or found.action == _Response.ACTION_NONE:
                raise failure or NotFoundError(f"no node of the cluster has the image {reference}")
            else:
                try:
                    await pull()
                except CoveyError as error:
                    failure, registry_failed = error, True
                else:
                    return

    async def fetch(self, image_id: str, peers: Sequence[ImagePeer], names: Sequence[str]) -> None:
        """Fetch an image from peers under these names. Raises CoveyError."""
        if self._fetcher is None:
            raise UnavailableError("this node is in no cluster")
        named = [name for name in names if not image_reference.is_image_id(name)]
        await self._fetcher.fetch(image_id, peers, named, _ignore)

    async def fetch_for_operator(self, request: dispatcher_pb2.FetchImage) -> dispatcher_pb2.FetchResult:
        """Carry out a fetch that the leader asks for."""
        result = dispatcher_pb2.FetchResult(fetch_id=request.fetch_id)
        try:
            await self.fetch(request.image_id, _peers(request.peers), request.names)
        except CoveyError as error:
            result.error = error.message
        except OSError as error:
            result.error = f"storing the image failed: {error.strerror or error}"
        return result

    async def _locate(self, reference: str, failed_peers: Sequence[str], *, registry_failed: bool) -> Any:
        """The leader's answer. Without a leader: the registry, or nothing if it has failed."""
        request = dispatcher_pb2.LocateImageRequest(
            reference=reference, registry_failed=registry_failed, failed_peers=failed_peers
        )
        alone = _Response(action=_Response.ACTION_NONE if registry_failed else _Response.ACTION_REGISTRY)
        dispatcher = self._dispatcher
        if dispatcher is None or self._fetcher is None:
            return alone
        try:
            return await dispatcher.LocateImage(request, timeout=CALL_SECONDS)
        except aio.AioRpcError as error:
            log.info("the leader did not say where %s is: %s", reference, error.details())
            return alone

    async def _authorize(self, node_id: str, image_id: str) -> None:
        dispatcher = self._dispatcher
        if dispatcher is None:
            raise UnavailableError("this node has no session with the leader, which decides who may fetch images")
        request = dispatcher_pb2.AuthorizeFetchRequest(node_id=node_id, image_id=image_id)
        try:
            await dispatcher.AuthorizeFetch(request, timeout=CALL_SECONDS)
        except aio.AioRpcError as error:
            raise error_from_status(error.code().name, error.details() or "", error.trailing_metadata()) from error

    def _set_addr(self, addr: str) -> None:
        self._addr = addr
        self._repository.notify()
        self.on_addr_change()


def _peers(peers: Sequence[dispatcher_pb2.ImagePeer]) -> list[ImagePeer]:
    return [ImagePeer(peer.node_id, peer.addr) for peer in peers]


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _ignore(_progress: Progress) -> None:
    return
