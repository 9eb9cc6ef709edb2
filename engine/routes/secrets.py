"""Routes for secrets and configs. Both kinds have the same operations."""

from aiohttp import web

from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.translate import filters
from engine.translate import secret as secret_json

FILTERS = ("id", "label", "name", "names")


async def list_secrets(call: RequestContext) -> web.Response:
    cluster, wanted = call.engine.cluster, call.filters(*FILTERS)
    kept = [
        item
        for item in await cluster.secrets()
        if filters.match_named(wanted, item.id, item.spec.annotations.name, item.spec.annotations.labels)
    ]
    return json_response([secret_json.write_secret(item) for item in kept])


async def create_secret(call: RequestContext) -> web.Response:
    cluster = call.engine.cluster
    spec = secret_json.read_secret(await call.json())
    secret_json.refuse_unsupported(spec)
    return json_response({"ID": (await cluster.create_secret(spec)).id}, 201)


async def inspect_secret(call: RequestContext) -> web.Response:
    return json_response(secret_json.write_secret(await call.engine.cluster.secret(call.ref)))


async def update_secret(call: RequestContext) -> web.Response:
    cluster, version = call.engine.cluster, call.object_version("secret")
    spec = secret_json.read_secret(await call.json())
    secret_json.refuse_unsupported(spec)
    await cluster.update_secret(call.ref, version, spec)
    return empty_response()


async def remove_secret(call: RequestContext) -> web.Response:
    await call.engine.cluster.remove_secret(call.ref)
    return empty_response(204)


async def list_configs(call: RequestContext) -> web.Response:
    cluster, wanted = call.engine.cluster, call.filters(*FILTERS)
    kept = [
        item
        for item in await cluster.configs()
        if filters.match_named(wanted, item.id, item.spec.annotations.name, item.spec.annotations.labels)
    ]
    return json_response([secret_json.write_config(item) for item in kept])


async def create_config(call: RequestContext) -> web.Response:
    cluster = call.engine.cluster
    spec = secret_json.read_config(await call.json())
    secret_json.refuse_unsupported(spec)
    return json_response({"ID": (await cluster.create_config(spec)).id}, 201)


async def inspect_config(call: RequestContext) -> web.Response:
    return json_response(secret_json.write_config(await call.engine.cluster.config(call.ref)))


async def update_config(call: RequestContext) -> web.Response:
    cluster, version = call.engine.cluster, call.object_version("config")
    spec = secret_json.read_config(await call.json())
    secret_json.refuse_unsupported(spec)
    await cluster.update_config(call.ref, version, spec)
    return empty_response()


async def remove_config(call: RequestContext) -> web.Response:
    await call.engine.cluster.remove_config(call.ref)
    return empty_response(204)


ROUTES = [
    Route("GET", "/secrets", list_secrets),
    Route("POST", "/secrets/create", create_secret),
    Route("GET", "/secrets/{ref}", inspect_secret),
    Route("DELETE", "/secrets/{ref}", remove_secret),
    Route("POST", "/secrets/{ref}/update", update_secret),
    Route("GET", "/configs", list_configs),
    Route("POST", "/configs/create", create_config),
    Route("GET", "/configs/{ref}", inspect_config),
    Route("DELETE", "/configs/{ref}", remove_config),
    Route("POST", "/configs/{ref}/update", update_config),
]
