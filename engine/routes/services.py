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


async def list_services(call: RequestContext) -> web.Response:
    cluster, wanted = call.engine.cluster, call.filters(*FILTERS)
    result = []
    for service, counts in await cluster.services():
        if filters.match_service(wanted, service):
            item = service_json.write(service)
            if call.flag("status"):
                item["ServiceStatus"] = _counts(counts)
            result.append(item)
    return json_response(result)


async def create(call: RequestContext) -> web.Response:
    cluster = call.engine.cluster
    spec = service_json.read_spec(await call.json())
    service = await (cluster.create_service(spec) if spec.annotations.name else _create_unnamed(cluster, spec))
    return json_response({"ID": service.id, "Warnings": None}, 201)


async def _create_unnamed(cluster: ControlClient, spec: ServiceSpec) -> Service:
    """Under a name that is free."""
    for _ in range(_MOST_NAMES):
        with contextlib.suppress(AlreadyExistsError):
            return await cluster.create_service(
                replace(spec, annotations=replace(spec.annotations, name=generate_name()))
            )
    raise ConflictError("no free name was found for the service; give it one with --name")


async def inspect(call: RequestContext) -> web.Response:
    service = await call.engine.cluster.service(call.ref)
    return json_response(service_json.write(service, defaults=call.flag("insertDefaults")))


async def update(call: RequestContext) -> web.Response:
    cluster, version = call.engine.cluster, call.object_version("service")
    rollback = call.query("rollback")
    if rollback not in ("", "previous"):
        raise InvalidArgumentError(f"unrecognized rollback option {rollback}")
    spec = service_json.read_spec(await call.json())
    await cluster.update_service(call.ref, version, spec, rollback=bool(rollback))
    return json_response({"Warnings": None})


async def remove(call: RequestContext) -> web.Response:
    await call.engine.cluster.remove_service(call.ref)
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
