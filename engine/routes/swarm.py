"""Routes for the swarm: init, join, leave, inspect, update, unlock key, unlock.

``NodeControl`` decides whether the node may join or leave; nothing is checked here.
"""

from aiohttp import web

from covey.errors import InvalidArgumentError, UnavailableError
from covey.objects import replace
from engine.control_client import ControlClient
from engine.interfaces import LocalNodeState
from engine.request_context import RequestContext, empty_response, json_response, not_manager_message
from engine.routing import Route
from engine.translate import swarm as swarm_json

CLUSTER_NAME = "default"


async def init(context: RequestContext) -> web.Response:
    request = swarm_json.read_init(await context.json())
    node_id = await context.services.membership.swarm_init(request)
    if request.force_new_cluster and request.spec.auto_lock:
        await _lock_managers(context.services.cluster)
    return json_response(node_id)


async def _lock_managers(control: ControlClient) -> None:
    """Turn on autolock in a cluster that continues with this manager alone, if it is off."""
    cluster = await control.cluster()
    if not cluster.spec.auto_lock:
        await control.update_cluster(cluster.meta.version, replace(cluster.spec, auto_lock=True))


async def join(context: RequestContext) -> web.Response:
    await context.services.membership.swarm_join(swarm_json.read_join(await context.json()))
    return empty_response()


async def leave(context: RequestContext) -> web.Response:
    await context.services.membership.swarm_leave(force=context.flag("force"))
    return empty_response()


async def inspect(context: RequestContext) -> web.Response:
    return json_response(swarm_json.write(await context.services.cluster.cluster()))


async def update(context: RequestContext) -> web.Response:
    version = context.object_version("swarm")
    spec = swarm_json.read_clamped_spec(await context.json())
    if spec.annotations.name != CLUSTER_NAME:
        raise InvalidArgumentError(f'swarm spec must be named "{CLUSTER_NAME}"')
    await context.services.cluster.update_cluster(
        version,
        spec,
        rotate_worker_token=context.strict_flag("rotateWorkerToken"),
        rotate_manager_token=context.strict_flag("rotateManagerToken"),
        rotate_unlock_key=context.strict_flag("rotateManagerUnlockKey"),
    )
    return empty_response()


async def unlock_key(context: RequestContext) -> web.Response:
    """The unlock key, or an empty string while autolock is off."""
    return json_response({"UnlockKey": await context.services.cluster.unlock_key()})


async def unlock(context: RequestContext) -> web.Response:
    """Unlock a locked manager. A node in no cluster is told so in the words of the other cluster requests."""
    if context.services.node.state is LocalNodeState.INACTIVE:
        raise UnavailableError(not_manager_message(context.services.node.state, is_manager=False))
    await context.services.membership.swarm_unlock(swarm_json.read_unlock(await context.json()))
    return empty_response()


ROUTES = [
    Route("GET", "/swarm", inspect),
    Route("POST", "/swarm/init", init),
    Route("POST", "/swarm/join", join),
    Route("POST", "/swarm/leave", leave),
    Route("POST", "/swarm/update", update),
    Route("GET", "/swarm/unlockkey", unlock_key),
    Route("POST", "/swarm/unlock", unlock),
]
