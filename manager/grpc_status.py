"""Errors as gRPC statuses: the server's edge of the one table in ``covey.grpc_errors``.

Law: whoever does not lead says so by the trailing metadata ``covey-leader``, which no other failure carries; so a caller knows that
nothing was done and that it may ask again elsewhere.
"""

import grpc
from grpc import aio

from covey.grpc_errors import LEADER_METADATA, code_name

NOT_LEADER_DETAILS = "this manager does not lead the cluster"


def status_code(error: BaseException) -> grpc.StatusCode:
    return grpc.StatusCode[code_name(error)]


def status_details(error: BaseException) -> str:
    """The sentence for people; an error without a meaning is named by its class, for the log has the rest."""
    message = getattr(error, "message", "")
    return message or f"internal error: {type(error).__name__}: {error}"


async def abort_not_leader(context: "aio.ServicerContext[object, object]", leader_addr: str) -> None:
    """Ends the call with FAILED_PRECONDITION and the leader's address, empty while there is none."""
    where = f"; the leader is at {leader_addr}" if leader_addr else "; there is no leader now"
    await context.abort(
        grpc.StatusCode.FAILED_PRECONDITION,
        NOT_LEADER_DETAILS + where,
        trailing_metadata=((LEADER_METADATA, leader_addr),),
    )
