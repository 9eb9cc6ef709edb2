"""Routes for secrets and configs. Both kinds have the same operations."""

from aiohttp import web

from covey.secret_versions import version_of
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.translate import filters
from engine.translate import secret as secret_json

FILTERS = ("id", "label", "name", "names")


async def list_secrets(context: RequestContext) -> web.Response:
    cluster, active_filters = context.services.cluster, context.filters(*FILTERS)
    matching = [
        item
        for item in await cluster.secrets()
        if filters.match_named(active_filters, item.id, item.spec.annotations.name, item.spec.annotations.labels)
    ]
    return json_response([secret_json.write_secret(item) for item in matching])


async def create_secret(context: RequestContext) -> web.Response:
    cluster = context.services.cluster
    spec = secret_json.read_secret(await context.json())
    return json_response({"ID": (await cluster.create_secret(spec)).id}, 201)


async def inspect_secret(context: RequestContext) -> web.Response:
    return json_response(secret_json.write_secret(await context.services.cluster.secret(context.ref)))


async def update_secret(context: RequestContext) -> web.Response:
    cluster, version = context.services.cluster, context.object_version("secret")
    spec = secret_json.read_secret(await context.json())
    await cluster.update_secret(context.ref, version, spec)
    return empty_response()


async def rotate_secret(context: RequestContext) -> web.Response:
    data = secret_json.read_rotation(await context.json(), "secret")
    rotated, services = await context.services.cluster.rotate_secret(context.ref, data)
    return json_response({"ID": rotated.id, "Version": version_of(rotated), "Services": services}, 201)


async def remove_secret(context: RequestContext) -> web.Response:
    await context.services.cluster.remove_secret(context.ref)
    return empty_response(204)


async def list_configs(context: RequestContext) -> web.Response:
    cluster, active_filters = context.services.cluster, context.filters(*FILTERS)
    matching = [
        item
        for item in await cluster.configs()
        if filters.match_named(active_filters, item.id, item.spec.annotations.name, item.spec.annotations.labels)
    ]
    return json_response([secret_json.write_config(item) for item in matching])


async def create_config(context: RequestContext) -> web.Response:
    cluster = context.services.cluster
    spec = secret_json.read_config(await context.json())
    return json_response({"ID": (await cluster.create_config(spec)).id}, 201)


async def inspect_config(context: RequestContext) -> web.Response:
    return json_response(secret_json.write_config(await context.services.cluster.config(context.ref)))


async def update_config(context: RequestContext) -> web.Response:
    cluster, version = context.services.cluster, context.object_version("config")
    spec = secret_json.read_config(await context.json())
    await cluster.update_config(context.ref, version, spec)
    return empty_response()


async def rotate_config(context: RequestContext) -> web.Response:
    data = secret_json.read_rotation(await context.json(), "config")
    rotated, services = await context.services.cluster.rotate_config(context.ref, data)
    return json_response({"ID": rotated.id, "Version": version_of(rotated), "Services": services}, 201)


async def remove_config(context: RequestContext) -> web.Response:
    await context.services.cluster.remove_config(context.ref)
    return empty_response(204)


ROUTES = [
    Route("GET", "/secrets", list_secrets),
    Route("POST", "/secrets/create", create_secret),
    Route("GET", "/secrets/{ref}", inspect_secret),
    Route("DELETE", "/secrets/{ref}", remove_secret),
    Route("POST", "/secrets/{ref}/update", update_secret),
    Route("POST", "/secrets/{ref}/rotate", rotate_secret),
    Route("GET", "/configs", list_configs),
    Route("POST", "/configs/create", create_config),
    Route("GET", "/configs/{ref}", inspect_config),
    Route("DELETE", "/configs/{ref}", remove_config),
    Route("POST", "/configs/{ref}/update", update_config),
    Route("POST", "/configs/{ref}/rotate", rotate_config),
]
