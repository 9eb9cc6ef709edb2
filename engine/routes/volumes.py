"""Routes for this host's volumes, all of the ``local`` driver."""

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web

from agent.container.model import MountKind
from covey.errors import ConflictError, UnsupportedError
from engine.interfaces import Volume
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.translate import filters
from engine.translate.json_fields import JsonFields
from engine.translate.times import rfc3339

FILTERS = ("dangling", "driver", "label", "name")


async def list_volumes(call: RequestContext) -> web.Response:
    wanted, kept = call.filters(*FILTERS), []
    dangling = filters.filter_flag(wanted, "dangling")
    for volume in call.engine.agent.volumes.list():
        names = wanted.get("name")
        if (
            (not names or any(name in volume.name for name in names))
            and filters.match_labels(wanted.get("label", ()), volume.labels)
            and "local" in wanted.get("driver", ("local",))
            and (dangling is None or dangling is not bool(_users(call, volume.name)))
        ):
            kept.append(_write(call, volume))
    return json_response({"Volumes": kept, "Warnings": None})


async def create(call: RequestContext) -> web.Response:
    fields = JsonFields(await call.json())
    driver = fields.text("Driver") or "local"
    if driver != "local":
        raise UnsupportedError(f"the volume driver {driver!r} is not supported by Covey yet; use local")
    name, labels, options = fields.text("Name"), fields.text_map("Labels"), fields.text_map("DriverOpts")
    fields.refuse_unknown()
    volumes = call.engine.agent.volumes
    return json_response(
        _write(call, volumes.create(name, labels=labels, options=options, now_ns=call.engine.clock())), 201
    )


async def inspect(call: RequestContext) -> web.Response:
    return json_response(_write(call, call.engine.agent.volumes.get(call.ref)))


async def remove(call: RequestContext) -> web.Response:
    volume = call.engine.agent.volumes.get(call.ref)
    users = _users(call, volume.name)
    if users:
        raise ConflictError(f"remove {volume.name}: volume is in use - [{', '.join(users)}]")
    await asyncio.to_thread(call.engine.agent.volumes.remove, volume.name)
    return empty_response(204)


async def prune(call: RequestContext) -> web.Response:
    """Anonymous volumes that no container uses; with ``all=true`` the named ones too."""
    wanted = call.filters("all", "label")
    everything, removed, freed = filters.filter_flag(wanted, "all"), list[str](), 0
    for volume in call.engine.agent.volumes.list():
        if (
            (everything or volume.is_anonymous)
            and not _users(call, volume.name)
            and filters.match_labels(wanted.get("label", ()), volume.labels)
        ):
            path = call.engine.agent.volumes.data_path(volume.name)
            freed += await asyncio.to_thread(_bytes_below, path)
            await asyncio.to_thread(call.engine.agent.volumes.remove, volume.name)
            removed.append(volume.name)
    return json_response({"VolumesDeleted": removed or None, "SpaceReclaimed": freed})


def _bytes_below(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _users(call: RequestContext, name: str) -> list[str]:
    return [
        container.id
        for container in call.engine.agent.containers.list()
        if any(mount.kind is MountKind.VOLUME and mount.source == name for mount in container.config.mounts)
    ]


def _write(call: RequestContext, volume: Volume) -> dict[str, Any]:
    return {
        "Name": volume.name,
        "Driver": "local",
        "Mountpoint": str(call.engine.agent.volumes.data_path(volume.name)),
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
