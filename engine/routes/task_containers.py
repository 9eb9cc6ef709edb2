"""Routes for the container of a task on any node: an exec in it, and copies of its files. In the shapes of containers'.

Invariant: only managers serve them; a worker answers as for every question about the cluster.
"""

from aiohttp import web

from covey.display_name import display_name
from covey.errors import NotFoundError
from covey.objects import Task
from covey.placeholders import task_name
from covey.task_predicates import creation_order, has_ended
from engine.caller import user_of
from engine.exec_host import TaskExecs
from engine.remote_containers import RemoteContainer
from engine.request_context import RequestContext, empty_response, json_response
from engine.routes.container_files import STAT_HEADER, TAR, encode_stat
from engine.routes.execs import read_config
from engine.routing import Route
from engine.streams import chunked_response


async def create_exec(context: RequestContext) -> web.Response:
    config = read_config(await context.json())
    task = await find_task(context)
    return json_response(
        {"Id": await TaskExecs(context.services, user_of(context.request), task.id).create(config)}, 201
    )


async def stat(context: RequestContext) -> web.Response:
    found = await (await _container(context)).stat_path(context.query("path"))
    response = empty_response()
    response.headers[STAT_HEADER] = encode_stat(found)
    return response


async def read(context: RequestContext) -> web.StreamResponse:
    container = await _container(context)
    async with container.read_path(context.query("path")) as (found, tar):
        async with chunked_response(context, TAR, {STAT_HEADER: encode_stat(found)}) as response:
            async for data in tar:
                await response.write(data)
        return response


async def write(context: RequestContext) -> web.Response:
    container = await _container(context)
    await container.write_path(
        context.query("path"),
        context.request.content.iter_any(),
        keep_kinds=context.flag("noOverwriteDirNonDir"),
        as_user=context.flag("copyUIDGID"),
    )
    return empty_response()


async def find_task(context: RequestContext) -> Task:
    """The task with this id, prefix of an id, name of a container, or SERVICE.SLOT; of those of a slot the one that runs, or the newest."""
    cluster, ref = context.services.cluster, context.ref
    try:
        return await cluster.task(ref)
    except NotFoundError:
        tasks = await cluster.tasks()
    named = [task for task in tasks if ref in {display_name(task), task_name(task), _slot_name(task)}]
    if not named:
        raise NotFoundError(f"No such task: {ref}")
    return max(named, key=lambda task: (not has_ended(task), creation_order(task)))


def _slot_name(task: Task) -> str:
    return f"{task.service_annotations.name}.{task.slot or task.node_id}"


async def _container(context: RequestContext) -> RemoteContainer:
    return RemoteContainer(context.services.cluster, (await find_task(context)).id)


ROUTES = [
    Route("POST", "/tasks/{ref}/exec", create_exec),
    Route("HEAD", "/tasks/{ref}/archive", stat),
    Route("GET", "/tasks/{ref}/archive", read),
    Route("PUT", "/tasks/{ref}/archive", write),
]
