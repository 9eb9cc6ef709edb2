"""gRPC channel to the control API of this host's own manager: deadlines, retries and error mapping.

Invariant: every call has a deadline. A read is retried while there is no leader. A write is retried only if it certainly had no effect:
it was not sent yet, or the other side reported that it is not the leader. Called by ``engine.control_client``.

The manager itself waits for a leader and forwards calls to it. It raises NoLeaderError when it has waited in vain, which is not retried
here.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import grpc

from covey.errors import CoveyError, DeadlineError, NoLeaderError, UnavailableError
from covey.grpc_errors import LEADER_METADATA, USER_METADATA, error_from_status, metadata_value, raised_by_server
from coveypb.v1 import control_pb2_grpc
from engine.caller import current_user
from engine.rpc_wording import in_rpc_words

ATTEMPT_SECONDS = 40.0
"""Longer than the manager waits for a leader, so that its error arrives instead of a deadline here."""
FIRST_BACKOFF_SECONDS = 0.05
MAX_BACKOFF_SECONDS = 0.5
MAX_MESSAGE_BYTES = 256 << 20

_READS = ("Get", "List")
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
]


class ControlChannel:
    """Calls of the control API. The socket need not exist before the first call, which waits up to ``call_seconds`` for it."""

    def __init__(self, socket_path: str, call_seconds: float) -> None:
        self._target = f"unix:{socket_path}"
        self._call_seconds = call_seconds
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None

    async def close(self) -> None:
        """Close the connection. The next call opens another one."""
        channel, self._channel, self._stub = self._channel, None, None
        if channel is not None:
            await channel.close()

    async def call(self, method: str, request: Any, *, seconds: float = ATTEMPT_SECONDS) -> Any:
        """One response, at most ``seconds`` after the request was sent. A failure raises the ``CoveyError`` that it stands for."""
        loop = asyncio.get_running_loop()
        deadline, backoff = loop.time() + self._call_seconds, FIRST_BACKOFF_SECONDS
        while True:
            stub = await self._connect(deadline)
            try:
                return await getattr(stub, method)(request, timeout=seconds, metadata=_user_metadata())
            except grpc.aio.AioRpcError as error:
                if loop.time() + backoff > deadline or not is_retryable(method, error):
                    raise _call_error(method, error) from error
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)

    async def stream(self, method: str, request: Any) -> AsyncIterator[Any]:
        """The messages of a streaming call, which is not retried."""
        stub = await self._connect(asyncio.get_running_loop().time() + self._call_seconds)
        call = getattr(stub, method)(request)
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
        finally:
            call.cancel()

    async def duplex(self, method: str) -> Any:
        """An open call with parts in both directions, which the caller cancels at its end."""
        stub = await self._connect(asyncio.get_running_loop().time() + self._call_seconds)
        return getattr(stub, method)()

    async def _connect(self, deadline: float) -> Any:
        """The stub, once the manager's socket answers. A call that fails before that was certainly not sent."""
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._target, options=_OPTIONS)
            self._stub = control_pb2_grpc.ControlStub(self._channel)  # type: ignore[no-untyped-call,unused-ignore]
        try:
            async with asyncio.timeout_at(deadline):
                await self._channel.channel_ready()
        except TimeoutError:
            raise UnavailableError("this node's manager does not answer; it may be starting: try again") from None
        return self._stub


def _user_metadata() -> tuple[tuple[str, str], ...]:
    """Who caused the call, for histories."""
    user = current_user()
    return ((USER_METADATA, quote(user)),) if user else ()


def is_retryable(method: str, error: grpc.aio.AioRpcError) -> bool:
    """Whether a failed call can be repeated without the risk of doing it twice, and no other part has retried it already."""
    if metadata_value(error.trailing_metadata(), LEADER_METADATA) is not None:
        return True
    if isinstance(error_from_rpc(error), NoLeaderError):
        return False
    return error.code() is grpc.StatusCode.UNAVAILABLE and method.startswith(_READS)


def error_from_rpc(error: grpc.aio.AioRpcError) -> CoveyError:
    """The error that the manager raised."""
    return error_from_status(error.code().name, error.details() or "", error.trailing_metadata())


def _call_error(method: str, error: grpc.aio.AioRpcError) -> CoveyError:
    """The error that the manager raised, of a write in Docker's form. If the connection broke during a write, its outcome is unknown."""
    is_lost = error.code() is grpc.StatusCode.UNAVAILABLE and not raised_by_server(error.trailing_metadata())
    if is_lost and not method.startswith(_READS):
        return DeadlineError(
            "lost this node's manager during the operation, so its outcome is unknown. Check the object's state before retrying"
        )
    found = error_from_rpc(error)
    return found if method.startswith(_READS) else in_rpc_words(method, found)
