"""Client for joining and leaving a Raft group: calls Join and Leave on managers that are members.

Invariant: tries one manager after the other until the deadline and starts over while the group has no leader.
Called by `manager.bootstrap` before the manager's own Raft node exists, and by the backend to announce an address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
from grpc import aio

from covey.errors import CoveyError, DeadlineError, UnavailableError
from coveypb.v1 import raft_pb2, raft_pb2_grpc
from manager.grpc_status import error_from_rpc
from manager.raft.peer import Credentials, connected_channel
from manager.raft.wire import member_from_wire
from manager.store.consensus import Member

JOIN_SECONDS = 30.0
_CALL_SECONDS = 20.0
_PAUSE_SECONDS = 0.2

R = TypeVar("R")


class JoinResult(msgspec.Struct, frozen=True):
    """The new member's raft id, and all members of the group."""

    raft_id: int
    members: tuple[Member, ...]


async def join(
    addrs: Sequence[str],
    credentials: Credentials,
    *,
    node_id: str,
    addr: str,
    raft_id: int = 0,
    timeout_seconds: float = JOIN_SECONDS,
) -> JoinResult:
    """Joins the group, or with ``raft_id`` announces this member's new address.

    Raises:
        DeadlineError: no manager accepted it; NotFoundError: ``raft_id`` is no longer a member; ConflictError.
    """
    request = raft_pb2.RaftJoinRequest(node_id=node_id, addr=addr, raft_id=raft_id)

    async def call(stub: Any) -> JoinResult:
        response = await stub.Join(request, timeout=_CALL_SECONDS)
        return JoinResult(response.raft_id, tuple([member_from_wire(wire) for wire in response.members]))

    return await _call_any_manager(addrs, credentials, call, timeout_seconds)


async def leave(
    addrs: Sequence[str],
    credentials: Credentials,
    *,
    node_id: str,
    timeout_seconds: float = JOIN_SECONDS,
) -> None:
    """Ends a membership. Raises ConflictError, with the numbers, if the remaining voters would have no quorum; DeadlineError."""
    request = raft_pb2.RaftLeaveRequest(node_id=node_id)

    async def call(stub: Any) -> None:
        await stub.Leave(request, timeout=_CALL_SECONDS)

    await _call_any_manager(addrs, credentials, call, timeout_seconds)


async def _call_any_manager(
    addrs: Sequence[str],
    credentials: Credentials,
    call: Callable[[Any], Awaitable[R]],
    timeout_seconds: float,
) -> R:
    """Calls one manager after the other until one succeeds. Errors other than unavailability are final."""
    last: CoveyError = UnavailableError("no address of a manager is known")
    try:
        async with asyncio.timeout(timeout_seconds):
            while addrs:
                for target in addrs:
                    try:
                        async with connected_channel(target, credentials) as channel:
                            return await call(raft_pb2_grpc.RaftStub(channel))
                    except aio.AioRpcError as failure:
                        last = error_from_rpc(failure)
                    except TimeoutError:
                        last = UnavailableError(f"the manager at {target} does not answer")
                    if not isinstance(last, UnavailableError | DeadlineError):
                        raise last
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError:
        pass
    raise DeadlineError(
        f"no manager accepted the request within {timeout_seconds:.0f} s; the last error was: {last.message}"
    )
