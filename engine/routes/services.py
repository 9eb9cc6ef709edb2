"""Routes for services: list, create, inspect, update, remove. Service logs are in ``tasks``."""

import contextlib
from typing import Any

from aiohttp import web

from covey.errors import AlreadyExistsError, ConflictError, InvalidArgumentError
from covey.objects import Service, ServiceSpec, replace
from engine.control_client import ControlClient, ServiceCounts
from engine.name_generator import generate_name
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.translate import filters
from engine.translate import service as service_json

_MOST_NAMES = 20
FILTERS = ("id", "label", "mode", "name", "runtime")


async def list_services(context: RequestContext) -> web.Response:
    cluster, active_filters = context.services.cluster, context.filters(*FILTERS)
    result = []
    for service, counts in await cluster.services():
        if filters.match_service(active_filters, service):
            item = service_json.write(service)
            if context.flag("status"):
                item["ServiceStatus"] = _counts(counts)
            result.append(item)
    return json_response(result)


async def create(context: RequestContext) -> web.Response:
    cluster = context.services.cluster
    spec = service_json.read_spec(await context.json())
    service = await (cluster.create_service(spec) if spec.annotations.name else _create_unnamed(cluster, spec))
    return json_response({"ID": service.id, "Warnings": None}, 201)


async def _create_unnamed(cluster: ControlClient, spec: ServiceSpec) -> Service:
    """Create the service under a random name that is not in use."""
    for _ in range(_MOST_NAMES):
        with contextlib.suppress(AlreadyExistsError):
            return await cluster.create_service(
                replace(spec, annotations=replace(spec.annotations, name=generate_name()))
            )
    raise ConflictError("found no unused name for the service; name it with --name")


async def inspect(context: RequestContext) -> web.Response:
    service = await context.services.cluster.service(context.ref)
    return json_response(service_json.write(service, defaults=context.flag("insertDefaults")))


async def update(context: RequestContext) -> web.Response:
    cluster, version = context.services.cluster, context.object_version("service")
    rollback = context.query("rollback")
    if rollback not in ("", "previous"):
        raise InvalidArgumentError(f"unrecognized rollback option {rollback}")
    spec = service_json.read_spec(await context.json())
    await cluster.update_service(context.ref, version, spec, rollback=bool(rollback))
    return json_response({"Warnings": None})


async def remove(context: RequestContext) -> web.Response:
    await context.services.cluster.remove_service(context.ref)
    return empty_response()


def _counts(counts: ServiceCounts) -> dict[str, Any]:
    return {"RunningTasks": counts.running, "DesiredTasks": counts.desired, "CompletedTasks": counts.completed}


ROUTES = [
    Route("GET", "/services", list_services),
    Route("POST", "/services/create", create),
    Route("GET", "/services/{ref}", inspect),
    Route("DELETE", "/services/{ref}", remove),
    Route("POST", "/services/{ref}/update", update),
]
