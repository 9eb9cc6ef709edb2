"""Calls that only the leader answers, passed on by a follower as raw bytes, streams included.

Law: a call is repeated only while nothing can have been done: the other side says that it does not lead, or was not reached. What was
sent and lost is reported as such, except for calls that read: UNAVAILABLE says that a change was not made, DEADLINE_EXCEEDED that nobody
knows. All of it ends within a deadline, and a call is passed on once only,
since the mTLS listener has no forwarder.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc
from grpc import aio

from covey.errors import (
    AlreadyExistsError,
    ConflictError,
    DeadlineError,
    InvalidArgumentError,
    NotFoundError,
    StaleVersionError,
    UnavailableError,
)
from covey.grpc_errors import LEADER_METADATA, is_meant
from manager.authorize import behaviour_of, wrapped
from manager.control.errors import abort_not_leader
from manager.store import Consensus, Leadership, NotLeaderError

_PATIENCE_SECONDS = 6.0
_CALL_SECONDS = 30.0
_PAUSE_SECONDS = 0.1
_LOOK_SECONDS = 0.2
_LOCAL = frozenset(
    {
        "/coveypb.v1.Control/Status",
        "/coveypb.v1.Control/Backup",
        "/coveypb.v1.CertificateAuthority/GetRootCertificate",
    }
)
_READS = ("Get", "List", "Watch", "Logs")
_REFUSALS = (NotFoundError, AlreadyExistsError, ConflictError, StaleVersionError, InvalidArgumentError)
"""What is said of the store's objects, rather than of the call or the cluster."""

Dial = Callable[[str], aio.Channel]


class _AskAgainError(Exception):
    """Nothing was done; the leader may be another by now."""


class Forwarder(aio.ServerInterceptor):
    """``dial`` gives a channel to a manager's mTLS address; it owns and reuses it. Without one, the caller is told who leads."""

    def __init__(self, consensus: Consensus, dial: Dial | None) -> None:
        self._consensus = consensus
        self._dial = dial

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        service = method.split("/")[1]
        if (
            handler is None
            or service not in {"coveypb.v1.Control", "coveypb.v1.CertificateAuthority"}
            or method in _LOCAL
        ):
            return handler
        if self._dial is None:
            return wrapped(handler, lambda inner: self._leader_alone(inner, **_nature(method, handler)))
        return wrapped(handler, lambda _: self._forwarding(method, handler, self._dial), raw=True)  # type: ignore[arg-type]

    def _leader_alone(
        self, inner: Callable[[Any, Any], Any], *, reads: bool, changes: bool
    ) -> Callable[[Any, Any], Any]:
        async def call(request: Any, context: Any) -> Any:
            leadership = self._consensus.leadership
            if leadership.is_leader and reads and not await self._still_leads():
                leadership = self._consensus.leadership
                await abort_not_leader(context, "" if leadership.is_leader else leadership.leader_addr)
            if not leadership.is_leader:
                await abort_not_leader(context, leadership.leader_addr)
            try:
                return await (self._surely if changes else _plainly)(inner, request, context)
            except (_AskAgainError, NotLeaderError):  # nothing was proposed
                leadership = self._consensus.leadership
                await abort_not_leader(context, "" if leadership.is_leader else leadership.leader_addr)

        return call

    async def _surely(self, inner: Callable[[Any, Any], Any], request: Any, context: Any) -> Any:
        """A refusal says what the store holds, as a read does; a leader that was cut off, or has only just been elected, may refuse for
        what is past. So a majority is asked and the call made once more: the refused attempt has done nothing.
        """
        try:
            return await inner(request, context)
        except _REFUSALS:
            if not await self._still_leads():
                raise _AskAgainError from None
        return await inner(request, context)

    async def _still_leads(self) -> bool:
        """A leader that was cut off leads on in its own eyes for a moment, and would answer of the past: a majority says better."""
        try:
            await self._consensus.read_index()
        except (DeadlineError, UnavailableError):
            return False
        return self._consensus.leadership.is_leader

    def _forwarding(self, method: str, handler: Any, dial: Dial) -> Callable[[bytes, Any], Any]:
        inner = behaviour_of(handler)
        reads = _reads_once(method, handler)

        async def here(request: bytes, context: Any) -> Any:
            if reads and not await self._still_leads():
                raise _AskAgainError
            message = handler.request_deserializer(request)
            if handler.response_streaming:
                return await inner(message, _Serializing(context, handler.response_serializer))
            return handler.response_serializer(await (_plainly if reads else self._surely)(inner, message, context))

        async def call(request: bytes, context: Any) -> Any:
            deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
            while True:
                leadership = await self._someone_leads(deadline)
                try:
                    if leadership.is_leader:
                        return await here(request, context)
                    channel = dial(leadership.leader_addr)
                    if handler.response_streaming:
                        return await self._stream(channel, method, request, context, leadership)
                    return await self._unary(channel, method, request, context, leadership)
                except (_AskAgainError, NotLeaderError) as error:
                    if asyncio.get_running_loop().time() > deadline:
                        raise UnavailableError(self._no_leader()) from error
                    await asyncio.sleep(_PAUSE_SECONDS)

        return call

    async def _someone_leads(self, deadline: float) -> Leadership:
        """Waits through an election."""
        leadership = self._consensus.leadership
        if leadership.is_leader or leadership.leader_addr:
            return leadership
        try:
            async with asyncio.timeout_at(deadline):
                with self._consensus.subscribe() as changes:
                    async for leadership in changes:
                        if leadership.is_leader or leadership.leader_addr:
                            return leadership
        except TimeoutError:
            pass
        raise UnavailableError(self._no_leader())

    def _no_leader(self) -> str:
        """An engine outside of the managers knows why."""
        trouble = getattr(self._consensus, "trouble", "")
        return f"The swarm does not have a leader: {trouble}" if trouble else _NO_LEADER

    async def _unary(self, channel: aio.Channel, method: str, request: bytes, context: Any, told: Leadership) -> bytes:
        multicall: Any = channel.unary_unary(method)
        sent = multicall(request, timeout=_CALL_SECONDS)
        failure: aio.AioRpcError | None = None
        with self._cancelled_when_deposed(sent, told):
            try:
                return bytes(await sent)
            except aio.AioRpcError as error:
                failure = error
            except asyncio.CancelledError:
                _cancel_unless_deposed(sent)
        if failure is None:
            return await self._lost(method, context)
        return await self._answer_failure(failure, method, context)

    async def _stream(self, channel: aio.Channel, method: str, request: bytes, context: Any, told: Leadership) -> None:
        """Passed on as it comes. Once something was written the call cannot be repeated: it ends, and the caller watches anew."""
        multicall: Any = channel.unary_stream(method)
        sent = multicall(request)
        written = False
        failure: aio.AioRpcError | None = None
        with self._cancelled_when_deposed(sent, told):
            try:
                async for response in _begun(sent, context):
                    await context.write(response)
                    written = True
            except aio.AioRpcError as error:
                failure = error
            except asyncio.CancelledError:
                _cancel_unless_deposed(sent)
                raise UnavailableError(_STREAM_LOST) from None
            finally:
                sent.cancel()
        if failure is None:
            return
        if written:
            details = failure.details() or ""
            lost = failure.code() == grpc.StatusCode.UNAVAILABLE and not is_meant(details)
            await context.abort(failure.code(), _STREAM_LOST if lost else details)
        await self._answer_failure(failure, method, context)

    @contextlib.contextmanager
    def _cancelled_when_deposed(self, sent: Any, told: Leadership) -> Iterator[None]:
        """A leader whose host died is silent; that another leads is learnt sooner than any deadline. A timer is cheaper than a task."""
        loop = asyncio.get_running_loop()
        timer: list[asyncio.TimerHandle] = []

        def look() -> None:
            now = self._consensus.leadership
            if now.leader_addr and now.leader_addr != told.leader_addr:
                sent.cancel()
            else:
                timer[:] = [loop.call_later(_LOOK_SECONDS, look)]

        timer[:] = [loop.call_later(_LOOK_SECONDS, look)]
        try:
            yield
        finally:
            timer[0].cancel()

    async def _lost(self, method: str, context: Any) -> bytes:
        if _reads(method):
            raise _AskAgainError
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, _UNKNOWN)
        raise AssertionError

    async def _answer_failure(self, failure: aio.AioRpcError, method: str, context: Any) -> bytes:
        """Asks again if nothing was done, else gives the leader's own status to the caller."""
        if any(key == LEADER_METADATA for key, _ in failure.trailing_metadata() or ()):
            raise _AskAgainError
        details = failure.details() or ""
        if failure.code() == grpc.StatusCode.UNAVAILABLE and not is_meant(details):
            if _reads(method) or "failed to connect" in details.lower():
                raise _AskAgainError
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, _UNKNOWN)
        await context.abort(failure.code(), details)
        raise AssertionError


async def _begun(sent: Any, context: Any) -> AsyncIterator[bytes]:
    """The responses; the caller is told at once that the stream stands, before there is one."""
    await sent.initial_metadata()
    if not sent.done():
        await context.send_initial_metadata(())
    async for response in sent:
        yield response


class _Serializing:
    """A context whose ``write`` takes messages, over one that takes bytes."""

    def __init__(self, context: Any, serialize: Callable[[Any], bytes]) -> None:
        self._context = context
        self._serialize = serialize

    async def write(self, message: Any) -> None:
        await self._context.write(self._serialize(message))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


_NO_LEADER = (
    "The swarm does not have a leader. It's possible that too few managers are online. "
    "Make sure more than half of the managers are online."
)
_UNKNOWN = (
    "the leader was lost while it handled this; it may or may not have been done: look, then repeat it if need be"
)


_STREAM_LOST = "the leader changed while this stream ran; open it again"


def _reads(method: str) -> bool:
    return method.rpartition("/")[2].startswith(_READS)


def _reads_once(method: str, handler: Any) -> bool:
    """Whether the call is one look at the store. Streams tell what happens from now on, and end when the leader changes."""
    return _reads(method) and not handler.response_streaming


def _nature(method: str, handler: Any) -> dict[str, bool]:
    return {"reads": _reads_once(method, handler), "changes": not _reads(method) and not handler.response_streaming}


async def _plainly(inner: Callable[[Any, Any], Any], request: Any, context: Any) -> Any:
    return await inner(request, context)


def _cancel_unless_deposed(sent: Any) -> None:
    """Goes on with the caller's own cancellation, which ends the call to the leader too."""
    task = asyncio.current_task()
    if not sent.cancelled() or (task is not None and task.cancelling()):
        sent.cancel()
        raise asyncio.CancelledError
