"""The server's side of gRPC errors: ends a call with the status of an error, of another call's failure, or of a follower.

Invariant: every error that this manager raises carries its kind in the trailing metadata (``covey.grpc_errors``). Only a manager that does
not lead sends ``covey-leader``: then nothing was done, and the caller may ask the leader instead.

Called by the authorization interceptor, the leader forwarder and the streaming services.
"""

from typing import Any

import grpc
from grpc import aio

from covey.errors import CoveyError, DeadlineError
from covey.grpc_errors import (
    ERROR_METADATA,
    LEADER_METADATA,
    code_name,
    error_from_status,
    error_metadata,
    metadata_value,
)

NOT_LEADER_DETAILS = "this manager does not lead the cluster"


def status_code(error: BaseException) -> grpc.StatusCode:
    """The gRPC code of an error."""
    return grpc.StatusCode[code_name(error)]


def status_details(error: BaseException) -> str:
    """The sentence for people. An error without a meaning to the caller is named by its class; the log has the rest."""
    message = getattr(error, "message", "")
    return message or f"internal error: {type(error).__name__}: {error}"


async def abort_with(context: Any, error: BaseException) -> None:
    """Ends the call with the status of an error."""
    await context.abort(status_code(error), status_details(error), trailing_metadata=error_metadata(error))


async def abort_like(context: Any, failure: aio.AioRpcError) -> None:
    """Ends the call with the status of a call that was made for it."""
    kind = metadata_value(failure.trailing_metadata(), ERROR_METADATA)
    metadata = ((ERROR_METADATA, kind),) if kind is not None else ()
    await context.abort(failure.code(), failure.details() or "", trailing_metadata=metadata)


async def abort_not_leader(context: Any, leader_addr: str) -> None:
    """Ends the call with FAILED_PRECONDITION and the leader's address, which is empty while there is no leader."""
    where = f"; the leader is at {leader_addr}" if leader_addr else "; there is no leader now"
    await context.abort(
        grpc.StatusCode.FAILED_PRECONDITION,
        NOT_LEADER_DETAILS + where,
        trailing_metadata=((LEADER_METADATA, leader_addr),),
    )


def error_from_rpc(failure: aio.AioRpcError) -> CoveyError:
    """The error that another manager's status stands for."""
    if failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineError(failure.details() or "the other manager did not answer in time")
    return error_from_status(failure.code().name, failure.details() or "", failure.trailing_metadata())
