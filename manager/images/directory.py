"""Image directory: which node has which image, and who gets an image from where, so that the registry is asked once.

The leader keeps it in memory. It is rebuilt from the reports of the nodes after a change of leader.

Invariant: a node learns of an image only if it may fetch it, and every node that serves an image asks the same question.
Invariant: while a node gets an image from the registry, the other nodes that need it wait for that node, for at most
``LEASE_NS``; if the registry fails, they are sent to it at once.
Invariant: at most ``FETCHES_PER_PEER`` nodes are sent to one peer at a time. As each then has the image, copies double each round.

Pure: time comes in as an argument. Called by ``manager.dispatcher`` and by the scheduler.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum

import msgspec

from covey import image_reference
from covey.clock import MILLISECOND, MINUTE, SECOND
from covey.errors import CoveyError, InvalidArgumentError, NotFoundError, PermissionDeniedError
from covey.image_sharing import Access, Sharing, SharingPolicy

LEASE_NS = 10 * MINUTE
GRANT_NS = 10 * MINUTE
FAILURE_MEMORY_NS = 30 * SECOND
SETTLE_NS = 5 * SECOND
"""A new leader waits so long for the reports of the nodes before it sends anyone to the registry."""
WAIT_NS = 500 * MILLISECOND
FETCHES_PER_PEER = 4
PEERS_PER_ANSWER = 3
IMAGES_PER_NODE = 2_000
NAMES_PER_IMAGE = 100


class NodeImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image of a node. ``names`` are NAME:TAG and NAME@DIGEST in Docker's short form."""

    id: str
    names: tuple[str, ...] = ()
    size_bytes: int = 0


class Peer(msgspec.Struct, frozen=True):
    """A node that serves images at HOST:PORT."""

    node_id: str
    addr: str


class Action(Enum):
    REGISTRY = "registry"
    PEERS = "peers"
    WAIT = "wait"
    NONE = "none"


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """Where a node gets an image. With ``REGISTRY``, ``peers`` are a replacement if the registry fails."""

    action: Action
    image_id: str = ""
    peers: tuple[Peer, ...] = ()


class _NodeReport(msgspec.Struct, frozen=True):
    addr: str
    images: dict[str, NodeImage]
    names: dict[str, str]
    """Name to image id."""


class ImageDirectory:
    """One per manager process. ``begin_term`` empties it when this manager becomes the leader."""

    def __init__(self) -> None:
        self._nodes: dict[str, _NodeReport] = {}
        self._settled_at_ns = 0
        self._fetches: dict[tuple[str, str], tuple[str, int]] = {}
        """(node, image id) to the first peer named and the end of the grant."""
        self._leases: dict[str, tuple[str, int]] = {}
        """Reference to the node that was sent to the registry for it, and the end of the lease."""
        self._failures: dict[str, int] = {}

    # --- reports ---

    def report(self, node_id: str, addr: str, images: Iterable[NodeImage]) -> None:
        """Replace what is known of a node. Raises InvalidArgumentError for more than the bounds allow."""
        by_id = {image.id: image for image in images}
        if len(by_id) > IMAGES_PER_NODE or any(len(image.names) > NAMES_PER_IMAGE for image in by_id.values()):
            raise InvalidArgumentError(
                f"a node reports at most {IMAGES_PER_NODE} images with {NAMES_PER_IMAGE} names each"
            )
        names = {name: image.id for image in by_id.values() for name in image.names}
        self._nodes[node_id] = _NodeReport(addr, by_id, names)
        for image_id in by_id:
            self._fetches.pop((node_id, image_id), None)
        for reference in [r for r, (holder, _) in self._leases.items() if holder == node_id]:
            if _image_id(self._nodes[node_id], reference):
                del self._leases[reference]

    def forget(self, node_id: str) -> None:
        """Forget a node whose session has ended."""
        self._nodes.pop(node_id, None)
        self._fetches = {key: value for key, value in self._fetches.items() if node_id not in {key[0], value[0]}}
        self._leases = {key: value for key, value in self._leases.items() if value[0] != node_id}

    def begin_term(self, now_ns: int) -> None:
        """This manager leads from now on, and no node has reported yet."""
        self.clear()
        self._settled_at_ns = now_ns + SETTLE_NS

    def clear(self) -> None:
        """Forget everything, at the end of the leadership."""
        self._nodes, self._fetches, self._leases, self._failures = {}, {}, {}, {}

    # --- questions ---

    def images(self) -> list[tuple[str, tuple[NodeImage, ...]]]:
        """The images of each node, by node id."""
        return [(node_id, tuple(report.images.values())) for node_id, report in sorted(self._nodes.items())]

    def nodes_with(self, reference: str) -> frozenset[str]:
        """Ids of the nodes that have the image of a reference, for the scheduler."""
        return frozenset(node_id for node_id, report in self._nodes.items() if _image_id(report, reference))

    def has(self, node_id: str, image_id: str) -> bool:
        """Whether the node reported the image."""
        report = self._nodes.get(node_id)
        return report is not None and image_id in report.images

    def locate(
        self,
        node_id: str,
        reference: str,
        policy: SharingPolicy,
        *,
        needed: bool,
        registry_failed: bool,
        now_ns: int,
        failed_peers: Collection[str] = (),
    ) -> Location:
        """Where the node gets an image. ``needed``: one of its tasks needs it. ``failed_peers`` did not deliver it.

        Raises:
            PermissionDeniedError: the node does not need it.
        """
        if policy.sharing is Sharing.OFF:
            return Location(action=Action.REGISTRY)
        if not needed and policy.access is not Access.CLUSTER:
            raise PermissionDeniedError(f"no task of node {node_id} needs the image {reference}")
        self._expire(now_ns)
        image_id, holders = self._holders(reference, {node_id, *failed_peers})
        peers = self._free_peers(holders)
        if registry_failed:
            self._note_failure(node_id, reference, now_ns)
        elif policy.sharing is Sharing.FALLBACK:
            return Location(
                action=Action.REGISTRY, image_id=image_id, peers=self._grant(node_id, image_id, peers, now_ns)
            )
        if peers:
            return Location(action=Action.PEERS, image_id=image_id, peers=self._grant(node_id, image_id, peers, now_ns))
        if holders:
            return Location(action=Action.WAIT)
        return self._without_holder(node_id, reference, policy, now_ns, registry_failed=registry_failed)

    def grant(self, node_id: str, image_id: str, now_ns: int) -> tuple[Peer, ...]:
        """Let a node fetch an image because the operator asks for it. Raises NotFoundError if no other node serves it."""
        holders = [
            Peer(other, report.addr)
            for other, report in sorted(self._nodes.items())
            if other != node_id and report.addr and image_id in report.images
        ]
        if not holders:
            raise NotFoundError(f"no other node of the cluster serves the image {image_id}")
        return self._grant(node_id, image_id, holders, now_ns)

    def authorize(
        self, node_id: str, image_id: str, policy: SharingPolicy, needs: Callable[[str], bool], now_ns: int
    ) -> None:
        """Return if the node may fetch the image. Raises PermissionDeniedError.

        A node may if it was sent to a peer for it, or if one of its tasks needs a reference of the image.
        """
        self._expire(now_ns)
        if policy.sharing is not Sharing.OFF and policy.access is Access.CLUSTER:
            return
        if (node_id, image_id) in self._fetches:
            return
        names = {name for report in self._nodes.values() for name in _names(report, image_id)}
        if policy.sharing is not Sharing.OFF and any(needs(name) for name in sorted({*names, image_id})):
            return
        raise PermissionDeniedError(f"node {node_id} may not fetch the image {image_id}: none of its tasks needs it")

    # --- parts ---

    def _holders(self, reference: str, excluded: Collection[str]) -> tuple[str, list[Peer]]:
        """The image id of a reference, and the nodes that serve it. If nodes disagree about a tag, most decide."""
        by_image: dict[str, list[Peer]] = {}
        for other, report in sorted(self._nodes.items()):
            image_id = _image_id(report, reference)
            if image_id and other not in excluded and report.addr:
                by_image.setdefault(image_id, []).append(Peer(other, report.addr))
        if not by_image:
            return "", []
        return max(by_image.items(), key=lambda item: (len(item[1]), item[0]))

    def _free_peers(self, holders: Sequence[Peer]) -> list[Peer]:
        """The holders that have room for another fetch, the least busy first."""
        busy: dict[str, int] = {}
        for peer_id, _ in self._fetches.values():
            busy[peer_id] = busy.get(peer_id, 0) + 1
        free = [peer for peer in holders if busy.get(peer.node_id, 0) < FETCHES_PER_PEER]
        return sorted(free, key=lambda peer: (busy.get(peer.node_id, 0), peer.node_id))

    def _grant(self, node_id: str, image_id: str, peers: Sequence[Peer], now_ns: int) -> tuple[Peer, ...]:
        if peers:
            self._fetches[node_id, image_id] = (peers[0].node_id, now_ns + GRANT_NS)
        return tuple(peers[:PEERS_PER_ANSWER])

    def _without_holder(
        self, node_id: str, reference: str, policy: SharingPolicy, now_ns: int, *, registry_failed: bool
    ) -> Location:
        if now_ns < self._settled_at_ns and not registry_failed:
            return Location(action=Action.WAIT)
        if policy.sharing is Sharing.ONLY or registry_failed:
            return Location(action=Action.NONE)
        holder = self._leases.get(reference, (node_id, 0))[0]
        failed_recently = self._failures.get(reference, -FAILURE_MEMORY_NS) > now_ns - FAILURE_MEMORY_NS
        if holder != node_id and not failed_recently:
            return Location(action=Action.WAIT)
        self._leases[reference] = (node_id, now_ns + LEASE_NS)
        return Location(action=Action.REGISTRY)

    def _note_failure(self, node_id: str, reference: str, now_ns: int) -> None:
        self._failures[reference] = now_ns
        if self._leases.get(reference, ("", 0))[0] == node_id:
            del self._leases[reference]

    def _expire(self, now_ns: int) -> None:
        self._fetches = {key: value for key, value in self._fetches.items() if value[1] > now_ns}
        self._leases = {key: value for key, value in self._leases.items() if value[1] > now_ns}
        self._failures = {key: at for key, at in self._failures.items() if at > now_ns - FAILURE_MEMORY_NS}


def _image_id(report: _NodeReport, reference: str) -> str:
    """The id of the node's image with this reference; empty if it has none. A digest decides over a tag."""
    if image_reference.is_image_id(reference):
        image_id = reference if ":" in reference else f"sha256:{reference}"
        return image_id if image_id in report.images else ""
    try:
        parsed = image_reference.parse(reference)
    except CoveyError:
        return ""
    if parsed.digest:
        return report.names.get(f"{parsed.familiar_name}@{parsed.digest}", "")
    return report.names.get(parsed.with_default_tag().familiar, "")


def _names(report: _NodeReport, image_id: str) -> tuple[str, ...]:
    image = report.images.get(image_id)
    return image.names if image is not None else ()
