"""Routes for the swarm: init, join, leave, inspect, update, unlock key, unlock."""

from aiohttp import web

from covey.cluster_settings import check_cluster_spec
from covey.errors import UnavailableError
from engine.interfaces import LocalNodeState
from engine.request_context import RequestContext, empty_response, json_response
from engine.routing import Route
from engine.translate import swarm as swarm_json

_MEMBER = 'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.'
_NO_MEMBER = "This node is not part of a swarm"


def _refuse_member(call: RequestContext) -> None:
    if call.engine.node.state is not LocalNodeState.INACTIVE:
        raise UnavailableError(_MEMBER)


async def init(call: RequestContext) -> web.Response:
    request = swarm_json.read_init(await call.json())
    if not request.force_new_cluster:
        _refuse_member(call)
    return json_response(await call.engine.membership.swarm_init(request))


async def join(call: RequestContext) -> web.Response:
    _refuse_member(call)
    await call.engine.membership.swarm_join(swarm_json.read_join(await call.json()))
    return empty_response()


async def leave(call: RequestContext) -> web.Response:
    if call.engine.node.state is LocalNodeState.INACTIVE:
        raise UnavailableError(_NO_MEMBER)
    await call.engine.membership.swarm_leave(force=call.flag("force"))
    return empty_response()


async def inspect(call: RequestContext) -> web.Response:
    return json_response(swarm_json.write(await call.engine.cluster.cluster()))


async def update(call: RequestContext) -> web.Response:
    cluster = call.engine.cluster
    version = call.object_version("swarm")
    spec = swarm_json.read_spec(await call.json())
    check_cluster_spec(spec)
    await cluster.update_cluster(
        version,
        spec,
        rotate_worker_token=call.flag("rotateWorkerToken"),
        rotate_manager_token=call.flag("rotateManagerToken"),
        rotate_unlock_key=call.flag("rotateManagerUnlockKey"),
    )
    return empty_response()


async def unlock_key(call: RequestContext) -> web.Response:
    """Empty while managers are not locked; clients say so in their own words."""
    return json_response({"UnlockKey": await call.engine.cluster.unlock_key()})


async def unlock(call: RequestContext) -> web.Response:
    node = call.engine.node
    if node.state is LocalNodeState.INACTIVE:
        raise UnavailableError(_NO_MEMBER)
    key = swarm_json.read_unlock(await call.json())
    await call.engine.membership.swarm_unlock(key)
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
