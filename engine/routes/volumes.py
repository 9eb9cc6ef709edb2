"""Routes for this host's volumes, all of the ``local`` driver."""

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web

from covey.errors import UnsupportedError
from engine.interfaces import Volume
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.translate import filters
from engine.translate.json_fields import JsonFields
from engine.translate.times import rfc3339

FILTERS = ("dangling", "driver", "label", "name")


async def list_volumes(context: RequestContext) -> web.Response:
    active_filters, matching = context.filters(*FILTERS), []
    dangling = filters.filter_flag(active_filters, "dangling")
    for volume in context.services.agent.volumes.list():
        names = active_filters.get("name")
        if (
            (not names or any(name in volume.name for name in names))
            and filters.match_labels(active_filters.get("label", ()), volume.labels)
            and "local" in active_filters.get("driver", ("local",))
            and (dangling is None or dangling is not bool(context.services.agent.containers.volume_users(volume.name)))
        ):
            matching.append(_write(context, volume))
    return json_response({"Volumes": matching, "Warnings": None})


async def create(context: RequestContext) -> web.Response:
    fields = JsonFields(await context.json())
    driver = fields.text("Driver") or "local"
    if driver != "local":
        raise UnsupportedError(f"the volume driver {driver!r} is not supported by Covey yet; use local")
    name, labels, options = fields.text("Name"), fields.text_map("Labels"), fields.text_map("DriverOpts")
    fields.refuse_unknown()
    volumes = context.services.agent.volumes
    return json_response(
        _write(context, volumes.create(name, labels=labels, options=options, now_ns=context.services.clock())), 201
    )


async def inspect(context: RequestContext) -> web.Response:
    return json_response(_write(context, context.services.agent.volumes.get(context.ref)))


async def remove(context: RequestContext) -> web.Response:
    await context.services.agent.containers.remove_volume(context.ref)
    return empty_response(204)


async def prune(context: RequestContext) -> web.Response:
    """Remove anonymous volumes that no container uses; with ``all=true`` the named ones too."""
    active_filters = context.filters("all", "label")
    everything, removed, freed = filters.filter_flag(active_filters, "all"), list[str](), 0
    for volume in context.services.agent.volumes.list():
        if (
            (everything or volume.is_anonymous)
            and not context.services.agent.containers.volume_users(volume.name)
            and filters.match_labels(active_filters.get("label", ()), volume.labels)
        ):
            path = context.services.agent.volumes.data_path(volume.name)
            freed += await asyncio.to_thread(_bytes_below, path)
            await context.services.agent.containers.remove_volume(volume.name)
            removed.append(volume.name)
    return json_response({"VolumesDeleted": removed or None, "SpaceReclaimed": freed})


def _bytes_below(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _write(context: RequestContext, volume: Volume) -> dict[str, Any]:
    return {
        "Name": volume.name,
        "Driver": "local",
        "Mountpoint": str(context.services.agent.volumes.data_path(volume.name)),
        "CreatedAt": rfc3339(volume.created_at_ns),
        "Labels": volume.labels,
        "Scope": "local",
        "Options": volume.options or None,
    }


ROUTES = [
    Route("GET", "/volumes", list_volumes),
    Route("POST", "/volumes/create", create),
    Route("POST", "/volumes/prune", prune),
    Route("GET", "/volumes/{ref}", inspect),
    Route("DELETE", "/volumes/{ref}", remove),
]
