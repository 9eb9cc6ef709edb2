"""Image service of the leader: answers nodes that look for an image, and makes nodes fetch one for the operator.

Invariant: only the leader's answers count. Sessions end with the leadership, and with them everything that is known here.
Called by ``manager.dispatcher`` and ``manager.control``.
"""

import asyncio
import time
from collections.abc import Callable, Iterator

from covey import image_reference
from covey.clock import Clock
from covey.errors import (
    CoveyError,
    DeadlineError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from covey.ids import new_id
from covey.image_sharing import SharingPolicy, sharing_policy
from covey.objects import Task
from covey.states import MountType
from covey.task_predicates import should_run
from coveypb.v1 import control_pb2, dispatcher_pb2
from manager.images.directory import WAIT_NS, Action, ImageDirectory, NodeImage, Peer
from manager.store import Store

SendCallback = Callable[[str, dispatcher_pb2.ManagerMessage], bool]

MAX_CONCURRENT_FETCHES = 256
_ACTIONS = {
    Action.REGISTRY: dispatcher_pb2.LocateImageResponse.ACTION_REGISTRY,
    Action.PEERS: dispatcher_pb2.LocateImageResponse.ACTION_PEERS,
    Action.WAIT: dispatcher_pb2.LocateImageResponse.ACTION_WAIT,
    Action.NONE: dispatcher_pb2.LocateImageResponse.ACTION_NONE,
}


class ImageService:
    """One per manager process."""

    def __init__(self, store: Store, clock: Clock = time.monotonic_ns) -> None:
        self.directory = ImageDirectory()
        self._store = store
        self._clock = clock
        self._send: SendCallback = lambda _node_id, _message: False
        self._fetches: dict[str, tuple[str, asyncio.Future[None]]] = {}

    def bind(self, send: SendCallback) -> None:
        """Sets how to reach nodes: ``send`` returns False for a node without a session."""
        self._send = send

    # --- sessions ---

    def begin_term(self) -> None:
        """This manager leads from now on."""
        self.directory.begin_term(self._clock())

    def end_term(self) -> None:
        """This manager leads no longer. The sessions have ended."""
        self.directory.clear()

    def report(self, node_id: str, message: dispatcher_pb2.ImageReport) -> None:
        """Takes the images of a node."""
        images = [NodeImage(id=i.id, names=tuple(i.names), size_bytes=i.size_bytes) for i in message.images]
        self.directory.report(node_id, message.addr, images)

    def forget(self, node_id: str) -> None:
        """The node's session has ended."""
        self.directory.forget(node_id)
        for owner, done in list(self._fetches.values()):
            if owner == node_id and not done.done():
                done.set_exception(UnavailableError(f"node {node_id} lost its session while it fetched the image"))

    def finish_fetch(self, node_id: str, result: dispatcher_pb2.FetchResult) -> None:
        """Takes the result of a fetch that the operator asked for."""
        owner, done = self._fetches.get(result.fetch_id, ("", None))
        if done is None or owner != node_id or done.done():
            return
        if result.error:
            done.set_exception(UnavailableError(f"node {node_id}: {result.error}"))
        else:
            done.set_result(None)

    # --- calls of nodes ---

    def locate(self, node_id: str, request: dispatcher_pb2.LocateImageRequest) -> dispatcher_pb2.LocateImageResponse:
        """Where a node gets an image. Raises PermissionDeniedError if none of its tasks needs it."""
        if len(request.reference) > image_reference.NAME_LIMIT + 256:
            raise InvalidArgumentError("the image reference is too long")
        found = self.directory.locate(
            node_id,
            request.reference,
            self._policy(),
            needed=self._needs(node_id, request.reference),
            registry_failed=request.registry_failed,
            now_ns=self._clock(),
            failed_peers=tuple(request.failed_peers),
        )
        return dispatcher_pb2.LocateImageResponse(
            action=_ACTIONS[found.action],
            image_id=found.image_id,
            peers=_wire_peers(found.peers),
            wait_ns=WAIT_NS if found.action is Action.WAIT else 0,
        )

    def authorize(self, serving_node: str, request: dispatcher_pb2.AuthorizeFetchRequest) -> None:
        """Returns if the node may fetch the image from the calling node, which has it. Raises PermissionDeniedError."""
        if self._store.view().nodes.get(request.node_id) is None:
            raise PermissionDeniedError(f"node {request.node_id} is not in the cluster")
        if not self.directory.has(serving_node, request.image_id):
            raise NotFoundError(f"node {serving_node} has not reported the image {request.image_id}")
        self.directory.authorize(
            request.node_id,
            request.image_id,
            self._policy(),
            lambda reference: self._needs(request.node_id, reference),
            self._clock(),
        )

    # --- calls of the operator ---

    def list(self) -> control_pb2.ListNodeImagesResponse:
        """The images of all connected nodes."""
        response = control_pb2.ListNodeImagesResponse()
        for node_id, images in self.directory.images():
            entry = response.nodes.add(node_id=node_id)
            for image in images:
                entry.images.add(id=image.id, names=image.names, size_bytes=image.size_bytes)
        return response

    async def fetch(self, request: control_pb2.FetchImageRequest, seconds: float) -> None:
        """Makes a node fetch an image, and waits for it. Returns at once if it has the image under these names.

        Raises:
            NotFoundError: no such node, or no other node serves the image. UnavailableError: the node is not connected, or failed.
            DeadlineError: it takes longer than ``seconds``; the node goes on.
        """
        node = self._store.view().nodes.find(request.node_ref)
        if not image_reference.is_digest(request.image_id):
            raise InvalidArgumentError(f"{request.image_id} is not an image id")
        if len(self._fetches) >= MAX_CONCURRENT_FETCHES:
            raise UnavailableError(f"{MAX_CONCURRENT_FETCHES} fetches are in progress; try again later")
        names = [image_reference.parse_tagged(name).familiar for name in request.names]
        peers = (
            ()
            if self.directory.has(node.id, request.image_id)
            else self.directory.grant(node.id, request.image_id, self._clock())
        )
        fetch_id, done = new_id(), asyncio.get_running_loop().create_future()
        message = dispatcher_pb2.FetchImage(
            fetch_id=fetch_id, image_id=request.image_id, names=names, peers=_wire_peers(peers)
        )
        self._fetches[fetch_id] = (node.id, done)
        try:
            if not self._send(node.id, dispatcher_pb2.ManagerMessage(fetch_image=message)):
                raise UnavailableError(f"node {node.description.hostname or node.id} is not connected")
            async with asyncio.timeout(seconds):
                await done
        except TimeoutError:
            raise DeadlineError(
                f"node {node.description.hostname or node.id} is still fetching the image after {seconds:.0f} s; it goes on"
            ) from None
        finally:
            del self._fetches[fetch_id]

    def _policy(self) -> SharingPolicy:
        try:
            return sharing_policy(self._store.view().cluster.spec.annotations.labels)
        except CoveyError:  # a label from before it had a meaning
            return SharingPolicy()

    def _needs(self, node_id: str, reference: str) -> bool:
        """Whether a task of the node needs the image with this reference."""
        wanted = _canonical(reference)
        return any(
            should_run(task) and any(_canonical(image) == wanted for image in _images(task))
            for task in self._store.view().tasks.by_node(node_id)
        )


def _images(task: Task) -> Iterator[str]:
    """The images that a task runs and mounts."""
    yield task.spec.container.image
    yield from (mount.source for mount in task.spec.container.mounts if mount.type is MountType.IMAGE)


def _canonical(reference: str) -> str:
    """A form in which equal references are equal; a digest makes the tag meaningless."""
    try:
        parsed = image_reference.parse(reference)
    except CoveyError:
        return reference.removeprefix("sha256:")
    if parsed.digest:
        return f"{parsed.name}@{parsed.digest}"
    return str(parsed.with_default_tag())


def _wire_peers(peers: tuple[Peer, ...]) -> list[dispatcher_pb2.ImagePeer]:
    return [dispatcher_pb2.ImagePeer(node_id=peer.node_id, addr=peer.addr) for peer in peers]
