"""A call to the leader on behalf of a follower's caller: connect, send the raw bytes, relay responses and failures.

Invariant: ``RetryableError`` means that the call had no effect. A change whose connection broke ends with DeadlineError, because its
outcome is unknown. So a change is sent only over a connection on which the leader answered a moment ago: one that broke while it was
idle looks connected until something is sent. A call ends when another manager becomes the leader.

Called by ``manager.control.leader_forwarding``.
"""

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
from grpc import aio

from covey.clock import boot_time
from covey.errors import DeadlineError, UnavailableError
from covey.grpc_errors import LEADER_METADATA, metadata_value, raised_by_server
from coveypb.v1 import control_pb2, control_pb2_grpc
from manager.caller import forwarded_user
from manager.grpc_status import abort_like, abort_with
from manager.store import Consensus, Leadership

_CALL_SECONDS = 30.0
_CONNECT_SECONDS = 1.0
_PROBE_SECONDS = 3.0
_IDLE_SECONDS = 1.0
_LEADER_POLL_SECONDS = 0.2
_DEPOSED_SECONDS = 2.0
"""A deposed leader that is alive answers within this time what became of a change: it learns that from the next leader's log."""
_OUTCOME_UNKNOWN = (
    "lost the leader during the operation, so its outcome is unknown. Check the object's state before retrying"
)
_STREAM_LOST = "the leader changed while this stream was open; open it again"


class RetryableError(Exception):
    """The call had no effect; retry it, possibly with another leader."""


class AnswerTimes:
    """When the other end of each channel last answered."""

    def __init__(self, now: Callable[[], float] = boot_time) -> None:
        self._now = now
        self._answered_at: weakref.WeakKeyDictionary[aio.Channel, float] = weakref.WeakKeyDictionary()

    def record(self, channel: aio.Channel) -> None:
        """Records an answer."""
        self._answered_at[channel] = self._now()

    def is_recent(self, channel: aio.Channel) -> bool:
        """Whether an answer arrived within the last second."""
        answered_at = self._answered_at.get(channel)
        return answered_at is not None and self._now() - answered_at < _IDLE_SECONDS


class LeaderCall:
    """One call to the manager that leads according to ``target``. ``reads`` says that it can be repeated whatever happens."""

    def __init__(
        self,
        consensus: Consensus,
        channel: aio.Channel,
        target: Leadership,
        method: str,
        *,
        reads: bool,
        answers: AnswerTimes,
    ) -> None:
        self._consensus = consensus
        self._channel = channel
        self._answers = answers
        self._target = target
        self._method = method
        self._reads = reads

    async def unary(self, request: bytes, context: Any) -> bytes:
        """The response. Raises RetryableError, DeadlineError or what ends the caller's call."""
        await _connect(self._channel)
        if not self._reads and not self._answers.is_recent(self._channel):
            await self._probe()
        multicall: Any = self._channel.unary_unary(self._method)
        sent = multicall(request, timeout=_CALL_SECONDS, metadata=forwarded_user(context))
        failure: aio.AioRpcError | None = None
        with self._cancel_on_leader_change(sent, grace_seconds=0.0 if self._reads else _DEPOSED_SECONDS):
            try:
                response = bytes(await sent)
            except aio.AioRpcError as error:
                failure = error
            except asyncio.CancelledError:
                _propagate_cancellation(sent)
            else:
                self._answers.record(self._channel)
                return response
        if failure is None:
            return self._answer_lost_call()
        return await self._answer_failure(failure, context)

    async def stream(self, request: bytes, context: Any) -> None:
        """Relays a stream. After the first response it cannot be retried: it ends, and the caller opens it again."""
        await _connect(self._channel)
        multicall: Any = self._channel.unary_stream(self._method)
        sent = multicall(request)
        written = False
        failure: aio.AioRpcError | None = None
        with self._cancel_on_leader_change(sent):
            try:
                async for response in _responses(sent, context):
                    await context.write(response)
                    written = True
            except aio.AioRpcError as error:
                failure = error
            except asyncio.CancelledError:
                _propagate_cancellation(sent)
                raise UnavailableError(_STREAM_LOST) from None
            finally:
                sent.cancel()
        if failure is None:
            return
        if written and _connection_lost(failure):
            await abort_with(context, UnavailableError(_STREAM_LOST))
        if written:
            await abort_like(context, failure)
        await self._answer_failure(failure, context)

    async def _probe(self) -> None:
        """Asks the leader for its status. Raises RetryableError if the connection turns out to be broken."""
        sent: Any = control_pb2_grpc.ControlStub(self._channel).Status(
            control_pb2.ManagerStatusRequest(), timeout=_PROBE_SECONDS
        )
        with self._cancel_on_leader_change(sent):
            try:
                await sent
            except aio.AioRpcError as error:  # any answer of the server will do
                if _connection_lost(error) or error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise RetryableError from None
            except asyncio.CancelledError:
                _propagate_cancellation(sent)
                raise RetryableError from None
        self._answers.record(self._channel)

    @contextlib.contextmanager
    def _cancel_on_leader_change(self, sent: Any, *, grace_seconds: float = 0.0) -> Iterator[None]:
        """Cancels the call when another manager leads for ``grace_seconds``, because a leader whose host failed never answers. Uses a
        timer, which costs less than a task.
        """
        loop = asyncio.get_running_loop()
        timer: list[asyncio.TimerHandle] = []

        def look() -> None:
            now = self._consensus.leadership
            if now.leader_addr and now.leader_addr != self._target.leader_addr:
                timer[:] = [loop.call_later(grace_seconds, sent.cancel)]
            else:
                timer[:] = [loop.call_later(_LEADER_POLL_SECONDS, look)]

        timer[:] = [loop.call_later(_LEADER_POLL_SECONDS, look)]
        try:
            yield
        finally:
            timer[0].cancel()

    def _answer_lost_call(self) -> bytes:
        if self._reads:
            raise RetryableError
        raise DeadlineError(_OUTCOME_UNKNOWN)

    async def _answer_failure(self, failure: aio.AioRpcError, context: Any) -> bytes:
        """Retries a call that had no effect; otherwise ends the caller's call with the leader's status."""
        if metadata_value(failure.trailing_metadata(), LEADER_METADATA) is not None:
            raise RetryableError
        if _connection_lost(failure):
            return self._answer_lost_call()
        await abort_like(context, failure)
        raise AssertionError


async def _connect(channel: aio.Channel) -> None:
    """Waits until the channel is connected. A call that fails later may have been sent; one that never connects is retried."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
                if state in {grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN}:
                    raise RetryableError
                await channel.wait_for_state_change(state)
    except TimeoutError:
        raise RetryableError from None


def _connection_lost(failure: aio.AioRpcError) -> bool:
    """Whether the connection failed, so that the outcome of the call is unknown."""
    return failure.code() is grpc.StatusCode.UNAVAILABLE and not raised_by_server(failure.trailing_metadata())


async def _responses(sent: Any, context: Any) -> AsyncIterator[bytes]:
    """The responses. Sends the initial metadata first, so that the caller knows that the stream is open."""
    await sent.initial_metadata()
    if not sent.done():
        await context.send_initial_metadata(())
    async for response in sent:
        yield response


def _propagate_cancellation(sent: Any) -> None:
    """Passes on the caller's own cancellation to the call to the leader."""
    task = asyncio.current_task()
    if not sent.cancelled() or (task is not None and task.cancelling()):
        sent.cancel()
        raise asyncio.CancelledError
