"""Routes for networks: those of this host, and the cluster's.

A worker knows only the networks of the cluster that its own containers use.
"""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiohttp import web

from agent.local_network.model import PREDEFINED, LocalNetwork
from covey.errors import (
    AlreadyExistsError,
    ConflictError,
    CoveyError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnavailableError,
)
from covey.network_options import PREDEFINED_LABEL
from covey.objects import Network
from covey.states import TaskState
from engine.interfaces import LocalNodeState
from engine.prune import NETWORK, pruning
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.translate import filters, local_network
from engine.translate import network as network_json
from engine.translate.api_versions import shape
from engine.translate.filters import Filters
from engine.translate.json_fields import omit_empty
from engine.translate.network_services import write_ingress, write_peers, write_services
from engine.translate.times import parse_moment

TYPES = ("builtin", "custom")
FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
PRUNE_FILTERS = ("label", "label!", "until")
_IN_USE = (PreconditionError, PermissionDeniedError, ConflictError, NotFoundError)


async def list_networks(context: RequestContext) -> web.Response:
    active_filters = context.filters(*FILTERS)
    for kind in active_filters.get("type", ()):
        if kind not in TYPES:
            raise filters.invalid_filter("type", (kind,), f"use one of {', '.join(TYPES)}")
    dangling = filters.filter_flag(active_filters, "dangling")
    cluster_networks = await cluster_networks_known(context)
    own = context.services.agent.endpoints.local.networks.list()
    found = [local_network.write(network) for network in own if not network.of_cluster]
    found += [network_json.write(network) for network in cluster_networks]
    used = await _used_ids(context) if dangling is not None else set()
    return json_response(
        [
            shape("network", context.version, item)
            for item in found
            if _matches(active_filters, item) and (dangling is None or dangling is _is_dangling(item, used))
        ]
    )


async def inspect(context: RequestContext) -> web.Response:
    scope, containers = context.query("scope"), context.services.agent.containers.list()
    local = local_or_none(context, context.ref)
    if local is not None and scope in ("", "local"):
        on_network = local_network.containers_on(local.id, containers)
        return json_response(shape("network", context.version, local_network.write(local, on_network)))
    # Clients ask for a predefined network in scope swarm before they attach a service to it.
    network = None if scope == "local" else await find_cluster_network(context, context.ref)
    if network is None:
        raise NotFoundError(f"network {context.ref} not found")
    found = network_json.write(network, local_network.containers_on(network.id, containers))
    if network.spec.ingress and context.services.control_available:
        nodes = await context.services.cluster.nodes()
        found |= write_ingress(network, nodes, context.services.node.node_id)
    if context.flag("verbose") and context.services.control_available:
        found |= await _verbose(context, network)
    return json_response(shape("network", context.version, found))


async def create(context: RequestContext) -> web.Response:
    """Create a network of the cluster or of this host, which the scope and the driver decide."""
    body = await context.json()
    if local_network.is_swarm_request(body):
        _require_swarm(context, body)
        spec = network_json.read_spec(body)
        if context.services.agent.endpoints.local.networks.find(spec.annotations.name) is not None:
            raise AlreadyExistsError(f"network with name {spec.annotations.name} already exists")
        network = await context.services.cluster.create_network(spec)
        return json_response({"Id": network.id, "Warning": ""}, 201)
    wanted = local_network.read_requirements(body)
    if any(each.spec.annotations.name == wanted.name for each in await cluster_networks_known(context)):
        raise AlreadyExistsError(f"network with name {wanted.name} already exists")
    made = await context.services.agent.endpoints.local.create(wanted, context.services.clock())
    return json_response({"Id": made.id, "Warning": ""}, 201)


async def remove(context: RequestContext) -> web.Response:
    local = local_or_none(context, context.ref)
    if local is not None:
        await context.services.agent.endpoints.local.remove(local)
        return empty_response(204)
    if not context.services.control_available:
        raise NotFoundError(f"network {context.ref} not found")
    await context.services.cluster.remove_network(context.ref)
    return empty_response(204)


async def prune(context: RequestContext) -> web.Response:
    """Remove the networks that nothing uses, of this host and, on a manager, of the cluster."""
    active = context.filters(*PRUNE_FILTERS)
    moments = active.get("until", ())
    if len(moments) > 1:
        raise InvalidArgumentError("more than one until filter specified")
    until = [parse_moment(moment, context.services.clock()) for moment in moments]
    with pruning(context, NETWORK):
        removed = await _prune_local(context, active, until)
        if context.services.control_available:
            removed += await _prune_cluster(context, active, until)
    return json_response({"NetworksDeleted": removed})


async def _prune_local(context: RequestContext, active: Filters, until: Sequence[int]) -> list[str]:
    local, removed = context.services.agent.endpoints.local, []
    for network in local.networks.list():
        fixed = network.config_only or network.is_predefined or network.of_cluster
        if fixed or not _prunable(active, until, network.labels, network.created_at_ns):
            continue
        with contextlib.suppress(PermissionDeniedError):  # it is in use
            await local.remove(network)
            removed.append(network.name)
    return removed


async def _prune_cluster(context: RequestContext, active: Filters, until: Sequence[int]) -> list[str]:
    removed = []
    for network in await cluster_networks_known(context):
        name, labels = network.spec.annotations.name, network.spec.annotations.labels
        if network.spec.ingress or not _prunable(active, until, labels, network.meta.created_at_ns):
            continue
        with contextlib.suppress(*_IN_USE):
            await context.services.cluster.remove_network(network.id)
            removed.append(name)
    return removed


async def cluster_networks_known(context: RequestContext) -> Sequence[Network]:
    """The cluster's networks, on a worker those that its containers use; on a manager without a leader the latter too."""
    if context.services.control_available:
        with contextlib.suppress(UnavailableError):
            return [network for network in await context.services.cluster.networks() if _is_users(network)]
    return [network for network in context.services.agent.endpoints.networks if _is_users(network)]


def _is_users(network: Network) -> bool:
    """Not one that stands for a predefined network of every node."""
    return PREDEFINED_LABEL not in network.spec.annotations.labels


async def find_cluster_network(context: RequestContext, ref: str) -> Network | None:
    """The network of the cluster with this name or id; None if this node knows none."""
    if context.services.control_available:
        try:
            return await context.services.cluster.network(ref)
        except NotFoundError:
            return None
    for network in context.services.agent.endpoints.networks:
        if ref == network.spec.annotations.name or (ref and network.id.startswith(ref)):
            return network
    return None


def _require_swarm(context: RequestContext, body: Any) -> None:
    """As in Docker, a scope that needs a cluster is refused otherwise than a driver that needs one."""
    if local_network.has_swarm_scope(body) and context.services.node.state is LocalNodeState.INACTIVE:
        raise PermissionDeniedError("cannot create a swarm scoped network when swarm is not active")


def _prunable(active: Filters, until: Sequence[int], labels: Mapping[str, str], created_at_ns: int) -> bool:
    if any(created_at_ns > moment for moment in until):
        return False
    excluded = active.get("label!", ())
    return filters.match_labels(active.get("label", ()), labels) and not (
        excluded and any(filters.match_labels((each,), labels) for each in excluded)
    )


async def _used_ids(context: RequestContext) -> set[str]:
    """The ids of the networks that a container of this host or a task of the cluster is on."""
    local = context.services.agent.endpoints.local.networks
    used = {network.id for network in local.list() if local.is_used(network)}
    used |= {item.network_id for each in context.services.agent.containers.list() for item in each.config.networks}
    if context.services.control_available:
        with contextlib.suppress(CoveyError):
            tasks = await context.services.cluster.tasks()
            used |= {item.network_id for task in tasks for item in task.networks}
    return used


def _is_dangling(item: dict[str, Any], used: Collection[str]) -> bool:
    return item["Name"] not in PREDEFINED and not item["Ingress"] and item["Id"] not in used


async def _verbose(context: RequestContext, network: Network) -> dict[str, Any]:
    """The nodes with a running task on the network, and the services of these tasks. All nodes are on the ingress network."""
    cluster = context.services.cluster
    tasks, nodes = await cluster.tasks(), {node.id: node for node in await cluster.nodes()}
    used = {
        task.node_id
        for task in tasks
        if task.status.state is TaskState.RUNNING and any(item.network_id == network.id for item in task.networks)
    }
    services = write_services(network.id, [service for service, _ in await cluster.services()], tasks, nodes)
    return {
        "Peers": write_peers(network, nodes.values(), used),
        **omit_empty(Services=services or None),
    }


def _matches(active_filters: Filters, item: dict[str, Any]) -> bool:
    kind = "builtin" if item["Name"] in PREDEFINED else "custom"
    return (
        filters.match_patterns(active_filters.get("name"), item["Name"])
        and filters.match_patterns(active_filters.get("id"), item["Id"])
        and filters.match_labels(active_filters.get("label", ()), item["Labels"])
        and all(
            item[field] in active_filters[name]
            for name, field in (("driver", "Driver"), ("scope", "Scope"))
            if name in active_filters
        )
        and kind in active_filters.get("type", (kind,))
    )


def local_or_none(context: RequestContext, ref: str) -> LocalNetwork | None:
    """The network of this host alone with this name or id."""
    found = context.services.agent.endpoints.local.networks.find(ref)
    return None if found is None or found.of_cluster else found


ROUTES = [
    Route("GET", "/networks", list_networks),
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune),
    Route("GET", "/networks/{ref}", inspect),
    Route("DELETE", "/networks/{ref}", remove),
]
