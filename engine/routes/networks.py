"""Networks: the three that every host has, and the overlays of the cluster.

``docker network ls`` on a worker shows the local ones only, as workers do not know the cluster's.
"""

from typing import Any

from aiohttp import web

from covey.errors import NotFoundError, PermissionDeniedError, UnsupportedError
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.translate import filters
from engine.translate import network as network_json
from engine.translate.filters import Filters

FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")


async def list_networks(call: RequestContext) -> web.Response:
    wanted = call.filters(*FILTERS)
    found = [network_json.write_predefined(name, call.engine.node.engine_id) for name in network_json.PREDEFINED]
    if call.engine.control_available:
        found += [network_json.write(network) for network in await call.engine.cluster.networks()]
    return json_response([item for item in found if _matches(wanted, item)])


async def inspect(call: RequestContext) -> web.Response:
    local = _predefined(call)
    if local is not None and call.query("scope") in ("", "local"):
        return json_response(local)
    if local is not None and call.query("scope") == "swarm":  # what a client asks before it attaches a service
        raise UnsupportedError(
            f"services on the predefined network {local['Name']} are not supported by Covey yet; create an overlay network"
        )
    if not call.engine.control_available or call.query("scope") == "local":
        raise NotFoundError(f"network {call.ref} not found")
    return json_response(network_json.write(await call.engine.cluster.network(call.ref)))


async def create(call: RequestContext) -> web.Response:
    body = await call.json()
    spec = network_json.read_spec(body)
    cluster = call.engine.cluster
    network_json.refuse_unsupported(spec)
    if spec.annotations.name in network_json.PREDEFINED:
        raise PermissionDeniedError(f"operation is not permitted on predefined {spec.annotations.name} network")
    network = await cluster.create_network(spec)
    return json_response({"Id": network.id, "Warning": ""}, 201)


async def remove(call: RequestContext) -> web.Response:
    local = _predefined(call)
    if local is not None:
        raise PermissionDeniedError(f"{local['Name']} is a pre-defined network and cannot be removed")
    if not call.engine.control_available:
        raise NotFoundError(f"network {call.ref} not found")
    await call.engine.cluster.remove_network(call.ref)
    return empty_response(204)


async def prune(call: RequestContext) -> web.Response:
    """Networks of the cluster are never pruned, as in Docker; local ones cannot be made yet."""
    call.filters("label", "label!", "until")
    return json_response({"NetworksDeleted": None})


def _predefined(call: RequestContext) -> dict[str, Any] | None:
    for name in network_json.PREDEFINED:
        local = network_json.write_predefined(name, call.engine.node.engine_id)
        if call.ref == name or (len(call.ref) >= 12 and local["Id"].startswith(call.ref)):
            return local
    return None


def _matches(wanted: Filters, item: dict[str, Any]) -> bool:
    kind = "builtin" if item["Name"] in network_json.PREDEFINED else "custom"
    names = wanted.get("name")
    return (
        (not names or any(name in item["Name"] for name in names))
        and filters.match_prefix(wanted.get("id"), item["Id"])
        and filters.match_labels(wanted.get("label", ()), item["Labels"])
        and all(
            item[field] in wanted[name] for name, field in (("driver", "Driver"), ("scope", "Scope")) if name in wanted
        )
        and kind in wanted.get("type", (kind,))
        and not filters.filter_flag(wanted, "dangling")
    )


ROUTES = [
    Route("GET", "/networks", list_networks),
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune),
    Route("GET", "/networks/{ref}", inspect),
    Route("DELETE", "/networks/{ref}", remove),
]
