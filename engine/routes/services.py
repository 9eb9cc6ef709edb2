"""Routes for services: list, create, inspect, update, remove. Service logs are in ``tasks``."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web

from agent.image.registry.auth_config import HEADER_LIMIT_BYTES, decode_header
from covey import image_reference
from covey.errors import AlreadyExistsError, ConflictError, CoveyError, InvalidArgumentError, TooLargeError
from covey.objects import ServiceSpec, replace
from engine.control_client import ServiceCounts
from engine.name_generator import generate_name
from engine.request_context import RequestContext, empty_response, json_response
from engine.routes.registries import AUTH_HEADER
from engine.routing import Route
from engine.translate import filters
from engine.translate import service as service_json
from engine.translate.explanation import write_dry_run, write_explanation

R = TypeVar("R")

_MOST_NAMES = 20
_NOT_PINNED = (
    "image {0} could not be accessed on a registry to record\nits digest. Each node will access {0} independently,\n"
    "possibly leading to different nodes running different\nversions of the image.\n"
)
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
    spec = with_registry_auth(service_json.read_spec(await context.json()), registry_auth(context))
    spec, warnings = await _pinned(context, spec)
    if context.flag("dryRun"):
        return json_response(write_dry_run(await _with_name(cluster.dry_run_service, spec), warnings))
    service = await _with_name(cluster.create_service, spec)
    return json_response({"ID": service.id, "Warnings": warnings or None}, 201)


async def _with_name(call: Callable[[ServiceSpec], Awaitable[R]], spec: ServiceSpec) -> R:
    """Call with the spec, if it has no name under a random one that is not in use."""
    if spec.annotations.name:
        return await call(spec)
    for _ in range(_MOST_NAMES):
        with contextlib.suppress(AlreadyExistsError):
            return await call(replace(spec, annotations=replace(spec.annotations, name=generate_name())))
    raise ConflictError("found no unused name for the service; name it with --name")


async def inspect(context: RequestContext) -> web.Response:
    service = await context.services.cluster.service(context.ref)
    return json_response(service_json.write(service, defaults=context.flag("insertDefaults")))


async def explain(context: RequestContext) -> web.Response:
    """Why the service has not all its tasks."""
    return json_response(write_explanation(await context.services.cluster.explain_service(context.ref)))


async def update(context: RequestContext) -> web.Response:
    cluster, version = context.services.cluster, context.object_version("service")
    rollback = context.query("rollback")
    if rollback not in ("", "previous"):
        raise InvalidArgumentError(f"unrecognized rollback option {rollback}")
    spec = service_json.read_spec(await context.json())
    auth = registry_auth(context) or await _stored_auth(context)
    spec, warnings = await _pinned(context, with_registry_auth(spec, auth))
    if context.flag("dryRun"):
        found = await cluster.dry_run_service(spec, ref=context.ref, version=version, rollback=bool(rollback))
        return json_response(write_dry_run(found, warnings))
    await cluster.update_service(context.ref, version, spec, rollback=bool(rollback))
    return json_response({"Warnings": warnings or None})


async def promote(context: RequestContext) -> web.Response:
    return json_response(service_json.write(await context.services.cluster.promote_service(context.ref)))


async def rebalance(context: RequestContext) -> web.Response:
    return json_response(service_json.write(await context.services.cluster.rebalance_service(context.ref)))


def registry_auth(context: RequestContext) -> str:
    """The credentials for the pulls of a service's tasks, as the client encoded them. They are stored and never shown."""
    value = context.request.headers.get(AUTH_HEADER, "")
    if len(value) > HEADER_LIMIT_BYTES:
        raise TooLargeError(f"the header {AUTH_HEADER} is larger than {HEADER_LIMIT_BYTES} bytes")
    return value


def with_registry_auth(spec: ServiceSpec, auth: str) -> ServiceSpec:
    return replace(spec, task=replace(spec.task, container=replace(spec.task.container, registry_auth=auth)))


async def _stored_auth(context: RequestContext) -> str:
    """An update without credentials keeps those of the current or the previous spec."""
    source = context.query("registryAuthFrom")
    if source not in ("", "spec", "previous-spec"):
        raise InvalidArgumentError("unsupported registryAuthFrom value")
    service = await context.services.cluster.service(context.ref)
    spec = service.previous_spec if source == "previous-spec" else service.spec
    if spec is None:
        raise InvalidArgumentError("service does not have a previous spec")
    return spec.task.container.registry_auth


async def _pinned(context: RequestContext, spec: ServiceSpec) -> tuple[ServiceSpec, list[str]]:
    """The spec with its image's digest, for clients before API 1.30, which do not ask the registry themselves."""
    container = spec.task.container
    if context.version >= (1, 30) or image_reference.is_image_id(container.image):
        return spec, []
    try:
        reference = image_reference.parse(container.image).with_default_tag()
        if reference.digest:
            return spec, []
        found = await context.services.agent.registries.inspect(str(reference), decode_header(container.registry_auth))
    except CoveyError:
        return spec, [_NOT_PINNED.format(container.image)]
    image = f"{reference.familiar}@{found.digest}"
    return replace(spec, task=replace(spec.task, container=replace(container, image=image))), []


async def remove(context: RequestContext) -> web.Response:
    await context.services.cluster.remove_service(context.ref)
    return empty_response()


def _counts(counts: ServiceCounts) -> dict[str, Any]:
    return {"RunningTasks": counts.running, "DesiredTasks": counts.desired, "CompletedTasks": counts.completed}


ROUTES = [
    Route("GET", "/services", list_services),
    Route("POST", "/services/create", create),
    Route("GET", "/services/{ref}", inspect),
    Route("GET", "/services/{ref}/explain", explain),
    Route("DELETE", "/services/{ref}", remove),
    Route("POST", "/services/{ref}/update", update),
    Route("POST", "/services/{ref}/promote", promote),
    Route("POST", "/services/{ref}/rebalance", rebalance),
]
