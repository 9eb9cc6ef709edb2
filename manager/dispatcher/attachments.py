"""Network attachments: single containers of a node on attachable networks, each a task without a service.

Invariant: a node attaches only its own containers, and only to attachable networks. The allocator gives the attachment its address; the
node ends it with a terminal status. A call that fails leaves no task. Called by the dispatcher.
"""

import asyncio
import ipaddress
from collections.abc import Callable

from covey.clock import Clock
from covey.errors import (
    AlreadyExistsError,
    ConflictError,
    DeadlineError,
    InvalidArgumentError,
    LaggedError,
    NotFoundError,
    PermissionDeniedError,
    TooLargeError,
)
from covey.mac_address import checked_mac
from covey.network_options import MAC_OPTION
from covey.objects import (
    Annotations,
    ContainerSpec,
    Network,
    NetworkAttachment,
    NetworkAttachmentConfig,
    Task,
    TaskSpec,
    TaskStatus,
)
from covey.states import TaskState
from covey.task_predicates import has_ended, is_attachment
from coveypb.v1 import dispatcher_pb2
from manager.store import Store, Tx, View

ALLOCATION_SECONDS = 8.0
MAX_ATTACHMENTS_PER_NODE = 2_000
MAX_ALIASES = 64
MAX_TEXT_CHARACTERS = 255
_ID_CHARACTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyz")
_TASK_ID_LENGTH = 25


async def attach(
    store: Store, clock: Clock, node_id: str, request: dispatcher_pb2.AttachNetworkRequest
) -> dispatcher_pb2.AttachNetworkResponse:
    """Creates the attachment and waits for its address. Raises CoveyError in Docker's words."""
    await store.update(lambda tx: create_attachment(tx, node_id, request, clock()))
    try:
        async with asyncio.timeout(ALLOCATION_SECONDS):
            attachment = await _wait_for(store, lambda view: _address(view, request.task_id))
    except TimeoutError:
        await _abandon(store, request.task_id)
        raise DeadlineError(
            f"network {request.network_ref} gave container {request.container_name} no address within {ALLOCATION_SECONDS:g} s"
        ) from None
    except BaseException:
        await asyncio.shield(_abandon(store, request.task_id))
        raise
    return dispatcher_pb2.AttachNetworkResponse(
        network_id=attachment.network_id, address=attachment.address, address6=attachment.address6, mac=attachment.mac
    )


def create_attachment(tx: Tx, node_id: str, request: dispatcher_pb2.AttachNetworkRequest, now_ns: int) -> None:
    """Stores the attachment, unless an earlier call with its id has."""
    _require_valid(request)
    existing = tx.tasks.get(request.task_id)
    if existing is not None:
        if existing.node_id == node_id and existing.attached_container_id == request.container_id:
            return
        raise AlreadyExistsError(f"task {request.task_id} exists already")
    network = _attachable(tx, request.network_ref)
    if tx.nodes.get(node_id) is None:
        raise NotFoundError(f"node {node_id} not found")
    held = [task for task in tx.tasks.by_node(node_id) if is_attachment(task) and not task.status.state.terminal]
    if len(held) >= MAX_ATTACHMENTS_PER_NODE:
        raise TooLargeError(f"node {node_id} has {MAX_ATTACHMENTS_PER_NODE} network attachments, which is the limit")
    mac = checked_mac(request.mac, request.address) if request.mac else ""
    if mac:
        _require_unused_mac(tx, network, mac)
    target = NetworkAttachmentConfig(
        target=network.id,
        aliases=tuple(request.aliases),
        addresses=tuple([text for text in (request.address, request.address6) if text]),
        driver_options={MAC_OPTION: mac} if mac else {},
    )
    tx.create(
        Task(
            id=request.task_id,
            node_id=node_id,
            annotations=Annotations(name=request.container_name),
            spec=TaskSpec(
                container=ContainerSpec(hostname=request.hostname),
                networks=(target,),
            ),
            attached_container_id=request.container_id,
            status=TaskStatus(timestamp_ns=now_ns, state=TaskState.NEW, message="created"),
            desired_state=TaskState.RUNNING,
        )
    )


def _attachable(view: View, ref: str) -> Network:
    try:
        network = view.networks.find(ref)
    except (NotFoundError, ConflictError) as error:
        raise NotFoundError(f"network {ref} not found") from error
    name = network.spec.annotations.name
    if not network.spec.attachable:
        raise PermissionDeniedError(
            f"Could not attach to network {name}: rpc error: code = PermissionDenied desc = network {name} not manually attachable"
        )
    return network


def _require_valid(request: dispatcher_pb2.AttachNetworkRequest) -> None:
    if len(request.task_id) != _TASK_ID_LENGTH or not set(request.task_id) <= _ID_CHARACTERS:
        raise InvalidArgumentError("an attachment needs a task id")
    texts = (request.container_id, request.container_name, request.hostname, request.network_ref, *request.aliases)
    if not request.container_id or len(request.aliases) > MAX_ALIASES or max(map(len, texts)) > MAX_TEXT_CHARACTERS:
        raise InvalidArgumentError(
            f"an attachment needs a container id, at most {MAX_ALIASES} aliases and no name longer than {MAX_TEXT_CHARACTERS} characters"
        )
    for family, text in ((4, request.address), (6, request.address6)):
        _require_family(family, text)


def _require_family(family: int, text: str) -> None:
    """Refuses a requested address that is none of this family; empty is any."""
    try:
        matches = not text or ipaddress.ip_address(text).version == family
    except ValueError:
        matches = False
    if not matches:
        raise InvalidArgumentError(f"invalid address {text}: an IPv{family} address is needed")


def _require_unused_mac(tx: Tx, network: Network, mac: str) -> None:
    for task in tx.tasks.by_network(network.id):
        requested = [config.driver_options.get(MAC_OPTION, "") for config in task.spec.networks]
        if not has_ended(task) and mac in requested:
            raise ConflictError(
                f"the MAC address {mac} is used by container {task.annotations.name} on network {network.spec.annotations.name}"
            )


async def _wait_for(store: Store, probe: Callable[[View], NetworkAttachment | None]) -> NetworkAttachment:
    """The first result of the probe, which is asked again after each commit."""
    while True:
        try:
            with store.watch() as (view, commits):
                found = probe(view)
                if found is not None:
                    return found
                async for _commit in commits:
                    found = probe(store.view())
                    if found is not None:
                        return found
        except LaggedError:
            continue


def _address(view: View, task_id: str) -> NetworkAttachment | None:
    """The address of the attachment; None while it may still get one, as for a network that has just been created."""
    task = view.tasks.get(task_id)
    if task is None or task.status.state.terminal:
        raise NotFoundError(f"the attachment {task_id} was removed before it had an address")
    if task.status.state >= TaskState.ASSIGNED:
        return task.networks[0]
    network = view.networks.get(task.spec.networks[0].target)
    is_ready = network is None or (network.usable and network.meta.version < task.meta.version)
    if task.status.error and is_ready:
        raise ConflictError(task.status.error)
    return None


async def _abandon(store: Store, task_id: str) -> None:
    def remove(tx: Tx) -> None:
        if tx.tasks.get(task_id) is not None:
            tx.remove(Task, task_id)

    await store.update(remove)
