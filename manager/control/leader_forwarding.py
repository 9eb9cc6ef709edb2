"""Forwards calls from followers to the leader as raw bytes, streams included.

Invariant: a call is retried only if it had no effect: the other manager does not lead or was not reached, or the call is a read.
UNAVAILABLE means that a change was not made, DEADLINE_EXCEEDED that its outcome is unknown. Every call ends within a deadline, and is
forwarded at most once, because the mTLS listener has no forwarder.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc import aio

from covey.errors import (
    AlreadyExistsError,
    ConflictError,
    DeadlineError,
    InvalidArgumentError,
    NoLeaderError,
    NotFoundError,
    StaleVersionError,
    UnavailableError,
)
from manager.control.leader_call import AnswerTimes, LeaderCall, RetryableError
from manager.grpc_handlers import handler_coroutine, wrap_handler
from manager.grpc_status import abort_not_leader
from manager.store import Consensus, Leadership, NotLeaderError

_LEADER_WAIT_SECONDS = 6.0
_RETRY_SECONDS = 0.1
_LOCAL_METHODS = frozenset(
    {
        "/coveypb.v1.Control/Status",
        "/coveypb.v1.Control/Backup",
        "/coveypb.v1.Control/CallTask",
        "/coveypb.v1.CertificateAuthority/GetRootCertificate",
    }
)
_READ_PREFIXES = ("Get", "List", "Watch", "Logs")
_STATE_ERRORS = (NotFoundError, AlreadyExistsError, ConflictError, StaleVersionError, InvalidArgumentError)
"""Refusals that depend on the state of the store. A leader confirms that it still leads before it gives one."""

_NO_LEADER = (
    "The swarm does not have a leader. It's possible that too few managers are online. "
    "Make sure more than half of the managers are online."
)

Dial = Callable[[str], aio.Channel]


class LeaderForwarder(aio.ServerInterceptor):
    """Serves calls on the leader and forwards them on followers.

    ``dial`` gives a channel to a manager's mTLS address, and owns it. Without ``dial``, the caller gets the address of the leader.
    """

    def __init__(self, consensus: Consensus, dial: Dial | None) -> None:
        self._consensus = consensus
        self._dial = dial
        self._answers = AnswerTimes()

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
            or method in _LOCAL_METHODS
        ):
            return handler
        if self._dial is None:
            return wrap_handler(handler, lambda inner: self._serve_as_leader(inner, **_method_kind(method, handler)))
        return wrap_handler(handler, lambda _: self._serve_or_forward(method, handler, self._dial), raw=True)  # type: ignore[arg-type]

    def _serve_as_leader(
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
                return await (self._confirm_refusal if changes else _call_once)(inner, request, context)
            except (RetryableError, NotLeaderError):  # nothing was proposed
                leadership = self._consensus.leadership
                await abort_not_leader(context, "" if leadership.is_leader else leadership.leader_addr)

        return call

    async def _confirm_refusal(self, inner: Callable[[Any, Any], Any], request: Any, context: Any) -> Any:
        """Runs a change, and runs it again if it was refused because of the store's state.

        A leader that is cut off or was just elected may have an old state. It confirms with a majority that it still leads and then tries
        again; the refused attempt had no effect.
        """
        try:
            return await inner(request, context)
        except _STATE_ERRORS:
            if not await self._still_leads():
                raise RetryableError from None
        return await inner(request, context)

    async def _still_leads(self) -> bool:
        """Asks a majority: a leader that is cut off does not know yet that it was deposed."""
        try:
            await self._consensus.read_index()
        except (DeadlineError, UnavailableError):
            return False
        return self._consensus.leadership.is_leader

    def _serve_or_forward(self, method: str, handler: Any, dial: Dial) -> Callable[[bytes, Any], Any]:
        inner = handler_coroutine(handler)
        reads = _is_unary_read(method, handler)

        async def here(request: bytes, context: Any) -> Any:
            if reads and not await self._still_leads():
                raise RetryableError
            message = handler.request_deserializer(request)
            if handler.response_streaming:
                return await inner(message, _SerializingContext(context, handler.response_serializer))
            return handler.response_serializer(
                await (_call_once if reads else self._confirm_refusal)(inner, message, context)
            )

        async def call(request: bytes, context: Any) -> Any:
            deadline = asyncio.get_running_loop().time() + _LEADER_WAIT_SECONDS
            while True:
                leadership = await self._wait_for_leader(deadline)
                try:
                    if leadership.is_leader:
                        return await here(request, context)
                    channel = dial(leadership.leader_addr)
                    sent = LeaderCall(
                        self._consensus, channel, leadership, method, reads=_is_read(method), answers=self._answers
                    )
                    return await (sent.stream if handler.response_streaming else sent.unary)(request, context)
                except (RetryableError, NotLeaderError) as error:
                    if asyncio.get_running_loop().time() > deadline:
                        raise NoLeaderError(self._no_leader_message()) from error
                    await asyncio.sleep(_RETRY_SECONDS)

        return call

    async def _wait_for_leader(self, deadline: float) -> Leadership:
        """Waits until there is a leader; raises NoLeaderError after the deadline, so that no caller waits again."""
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
        raise NoLeaderError(self._no_leader_message())

    def _no_leader_message(self) -> str:
        reason = self._consensus.unavailable_reason
        return f"The swarm does not have a leader: {reason}" if reason else _NO_LEADER


class _SerializingContext:
    """A context whose ``write`` takes messages, over one that takes bytes."""

    def __init__(self, context: Any, serialize: Callable[[Any], bytes]) -> None:
        self._context = context
        self._serialize = serialize

    async def write(self, message: Any) -> None:
        await self._context.write(self._serialize(message))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def _is_read(method: str) -> bool:
    return method.rpartition("/")[2].startswith(_READ_PREFIXES)


def _is_unary_read(method: str, handler: Any) -> bool:
    """Whether the call is a single read of the store. Streams report later events, and end when the leader changes."""
    return _is_read(method) and not handler.response_streaming


def _method_kind(method: str, handler: Any) -> dict[str, bool]:
    return {
        "reads": _is_unary_read(method, handler),
        "changes": not _is_read(method) and not handler.response_streaming,
    }


async def _call_once(inner: Callable[[Any, Any], Any], request: Any, context: Any) -> Any:
    return await inner(request, context)
