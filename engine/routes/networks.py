"""Routes for networks: the predefined ones of every host, and the cluster's overlay networks.

A worker knows only the networks that its own containers use.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from agent.container.model import Container
from covey.errors import NotFoundError, PermissionDeniedError
from covey.network_options import PREDEFINED_LABEL
from covey.objects import Network
from covey.states import TaskState
from engine.prune import NETWORK, pruning
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.translate import filters, local_network
from engine.translate import network as network_json
from engine.translate.api_versions import shape
from engine.translate.container_create.networking import read_connect, read_disconnect
from engine.translate.filters import Filters
from engine.translate.json_fields import omit_empty
from engine.translate.network_services import write_services
from engine.translate.times import parse_moment

MIN_ID_PREFIX = 12
TYPES = ("builtin", "custom")
FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")


async def list_networks(context: RequestContext) -> web.Response:
    active_filters = context.filters(*FILTERS)
    for kind in active_filters.get("type", ()):
        if kind not in TYPES:
            raise filters.invalid_filter("type", (kind,), f"use one of {', '.join(TYPES)}")
    found = [await _write_predefined(context, name) for name in local_network.PREDEFINED]
    found += [network_json.write(network) for network in await _cluster_networks(context)]
    return json_response([shape("network", context.version, item) for item in found if _matches(active_filters, item)])


async def inspect(context: RequestContext) -> web.Response:
    scope, containers = context.query("scope"), context.services.agent.containers.list()
    name = _predefined_name(context)
    if name and scope in ("", "local"):
        return json_response(shape("network", context.version, await _write_predefined(context, name, containers)))
    # Clients ask for a predefined network in scope swarm before they attach a service to it.
    network = None if scope == "local" else await _cluster_network(context, context.ref)
    if network is None:
        raise NotFoundError(f"network {context.ref} not found")
    found = network_json.write(network, local_network.containers_on(name, network.id, containers))
    if context.flag("verbose") and context.services.control_available:
        found |= await _verbose(context, network)
    return json_response(shape("network", context.version, found))


async def connect(context: RequestContext) -> web.Response:
    """Connect a container of this host to a network, at once if it runs."""
    request, container = read_connect(await context.json())
    name = _predefined_name(context)
    containers = context.services.agent.containers
    containers.get(container)
    if not name:
        network = await _cluster_network(context, context.ref)
        if network is None and (context.services.control_available or not context.services.node.node_id):
            raise NotFoundError(f"network {context.ref} not found")
        name = network.spec.annotations.name if network else context.ref  # a worker's manager looks it up
        _require_attachable(network)
    await containers.connect_network(container, msgspec.structs.replace(request, network=name))
    return empty_response()


async def disconnect(context: RequestContext) -> web.Response:
    container = read_disconnect(await context.json())
    network = await _cluster_network(context, context.ref)
    name = _predefined_name(context) or (network.spec.annotations.name if network else context.ref)
    await context.services.agent.containers.disconnect_network(container, name)
    return empty_response()


async def create(context: RequestContext) -> web.Response:
    body = await context.json()
    spec = network_json.read_spec(body)
    network = await context.services.cluster.create_network(spec)
    return json_response({"Id": network.id, "Warning": ""}, 201)


async def remove(context: RequestContext) -> web.Response:
    name = _predefined_name(context)
    if name:
        raise PermissionDeniedError(f"{name} is a pre-defined network and cannot be removed")
    if not context.services.control_available:
        raise NotFoundError(f"network {context.ref} not found")
    await context.services.cluster.remove_network(context.ref)
    return empty_response(204)


async def prune(context: RequestContext) -> web.Response:
    """Prune nothing: as in Docker, cluster networks are not pruned, and local ones cannot be created yet."""
    for moment in context.filters("label", "label!", "until").get("until", ()):
        parse_moment(moment, context.services.clock())
    with pruning(context, NETWORK):
        return json_response({"NetworksDeleted": []})


async def _write_predefined(context: RequestContext, name: str, containers: Sequence[Container] = ()) -> dict[str, Any]:
    engine_id = context.services.node.engine_id
    network_id = local_network.predefined_id(name, engine_id)
    address_range = await context.services.agent.endpoints.bridge_range() if name == "bridge" else ("", "")
    endpoints = local_network.containers_on(name, network_id, containers)
    return local_network.write_predefined(name, engine_id, address_range, endpoints)


def _predefined_name(context: RequestContext) -> str:
    """The name of the predefined network in the path, "" if it is another one."""
    for name in local_network.PREDEFINED:
        network_id = local_network.predefined_id(name, context.services.node.engine_id)
        if context.ref == name or (len(context.ref) >= MIN_ID_PREFIX and network_id.startswith(context.ref)):
            return name
    return ""


async def _cluster_networks(context: RequestContext) -> Sequence[Network]:
    """The cluster's networks, on a worker those that its containers use."""
    if context.services.control_available:
        found: Sequence[Network] = await context.services.cluster.networks()
    else:
        found = context.services.agent.endpoints.networks
    return [network for network in found if PREDEFINED_LABEL not in network.spec.annotations.labels]


async def _cluster_network(context: RequestContext, ref: str) -> Network | None:
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


def _require_attachable(network: Network | None) -> None:
    if network is not None and not network.spec.attachable:
        name = network.spec.annotations.name
        raise PermissionDeniedError(
            f"Could not attach to network {name}: rpc error: code = PermissionDenied desc = network {name} not manually attachable"
        )


async def _verbose(context: RequestContext, network: Network) -> dict[str, Any]:
    """The nodes with a running task on the network, and the services of these tasks."""
    cluster = context.services.cluster
    tasks, nodes = await cluster.tasks(), {node.id: node for node in await cluster.nodes()}
    used = {
        task.node_id
        for task in tasks
        if task.status.state is TaskState.RUNNING and any(item.network_id == network.id for item in task.networks)
    }
    services = write_services(network.id, [service for service, _ in await cluster.services()], tasks, nodes)
    return {
        "Peers": [{"Name": key, "IP": nodes[key].status.addr} for key in sorted(used) if key in nodes],
        **omit_empty(Services=services or None),
    }


def _matches(active_filters: Filters, item: dict[str, Any]) -> bool:
    kind = "builtin" if item["Name"] in local_network.PREDEFINED else "custom"
    names = active_filters.get("name")
    return (
        (not names or any(name in item["Name"] for name in names))
        and filters.match_prefix(active_filters.get("id"), item["Id"])
        and filters.match_labels(active_filters.get("label", ()), item["Labels"])
        and all(
            item[field] in active_filters[name]
            for name, field in (("driver", "Driver"), ("scope", "Scope"))
            if name in active_filters
        )
        and kind in active_filters.get("type", (kind,))
        and not filters.filter_flag(active_filters, "dangling")
    )


ROUTES = [
    Route("GET", "/networks", list_networks),
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune),
    Route("POST", "/networks/{ref}/connect", connect),
    Route("POST", "/networks/{ref}/disconnect", disconnect),
    Route("GET", "/networks/{ref}", inspect),
    Route("DELETE", "/networks/{ref}", remove),
]
