"""The cluster as a whole: init, join, leave, inspect, update, unlock."""

from aiohttp import web

from covey.errors import UnavailableError
from covey.settings import check_spec
from engine.call import Call, empty, reply
from engine.ports import LocalState
from engine.routing import Route
from engine.translate import swarm as swarm_json

_MEMBER = 'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.'
_NO_MEMBER = "This node is not part of a swarm"


def _refuse_member(call: Call) -> None:
    if call.engine.node.state is not LocalState.INACTIVE:
        raise UnavailableError(_MEMBER)


async def init(call: Call) -> web.Response:
    request = swarm_json.read_init(await call.json())
    if not request.force_new_cluster:
        _refuse_member(call)
    return reply(await call.engine.node.swarm_init(request))


async def join(call: Call) -> web.Response:
    _refuse_member(call)
    await call.engine.node.swarm_join(swarm_json.read_join(await call.json()))
    return empty()


async def leave(call: Call) -> web.Response:
    if call.engine.node.state is LocalState.INACTIVE:
        raise UnavailableError(_NO_MEMBER)
    await call.engine.node.swarm_leave(force=call.flag("force"))
    return empty()


async def inspect(call: Call) -> web.Response:
    return reply(swarm_json.write(await call.engine.cluster.cluster()))


async def update(call: Call) -> web.Response:
    cluster = call.engine.cluster
    version = call.object_version("swarm")
    spec = swarm_json.read_spec(await call.json())
    check_spec(spec)
    await cluster.update_cluster(
        version,
        spec,
        rotate_worker_token=call.flag("rotateWorkerToken"),
        rotate_manager_token=call.flag("rotateManagerToken"),
        rotate_unlock_key=call.flag("rotateManagerUnlockKey"),
    )
    return empty()


async def unlock_key(call: Call) -> web.Response:
    """Empty while managers are not locked; clients say so in their own words."""
    return reply({"UnlockKey": await call.engine.cluster.unlock_key()})


async def unlock(call: Call) -> web.Response:
    node = call.engine.node
    if node.state is LocalState.INACTIVE:
        raise UnavailableError(_NO_MEMBER)
    key = swarm_json.read_unlock(await call.json())
    await node.swarm_unlock(key)
    return empty()


ROUTES = [
    Route("GET", "/swarm", inspect),
    Route("POST", "/swarm/init", init),
    Route("POST", "/swarm/join", join),
    Route("POST", "/swarm/leave", leave),
    Route("POST", "/swarm/update", update),
    Route("GET", "/swarm/unlockkey", unlock_key),
    Route("POST", "/swarm/unlock", unlock),
]
