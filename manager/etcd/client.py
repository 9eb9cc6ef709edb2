"""etcd client over gRPC, with several endpoints.

Invariant: every call has a deadline. An endpoint that fails or hangs is left for the next one, by all users of the client.
Invariant: a call is made once. Callers decide whether to repeat it (see "Who retries" in docs/design/store.md).
Made by ``manager.etcd.backend``. Used on one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from covey.errors import CoveyError, UnavailableError
from coveypb.etcd import rpc_pb2, rpc_pb2_grpc
from manager.etcd.errors import DatabaseFullError, NoAnswerError, error_of
from manager.etcd.target import EtcdTarget

log = logging.getLogger(__name__)

CALL_SECONDS = 1.0
_MOST_PATIENCE = 4.0
"""Upper limit of the factor on timeouts. Timeouts grow while every member is slow; otherwise no call would ever be answered."""
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 4 << 20),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.use_local_subchannel_pool", 1),
)

EndpointChanged = Callable[[], None]


class EtcdClient:
    """``unavailable_reason`` is the human-readable reason why etcd does not answer, and is empty while it does.
    ``write_refusal_reason`` says why etcd refuses writes, until the watch shows a write.
    ``on_move`` is called when the client changes the endpoint.
    """

    def __init__(self, target: EtcdTarget) -> None:
        self.target = target
        self.unavailable_reason = ""
        self.write_refusal_reason = ""
        self.on_move: EndpointChanged | None = None
        self._credentials = _credentials(target)
        self._channels: list[aio.Channel | None] = [None] * len(target.endpoints)
        self._current = 0
        self._timeout_factor = 1.0

    @property
    def endpoint(self) -> int:
        """Index of the endpoint in use, for ``leave_endpoint``."""
        return self._current

    def channel(self) -> aio.Channel:
        """Channel to the endpoint in use."""
        channel = self._channels[self._current]
        if channel is None:
            address = self.target.endpoints[self._current]
            if self._credentials is None:
                channel = aio.insecure_channel(address, options=_OPTIONS)
            else:
                channel = aio.secure_channel(address, self._credentials, options=_OPTIONS)
            self._channels[self._current] = channel
        return channel

    def leave_endpoint(self, endpoint: int, reason: str) -> None:
        """Changes to the next endpoint, unless this one was left already."""
        self.unavailable_reason = reason
        if endpoint != self._current:
            return
        self._current = (endpoint + 1) % len(self.target.endpoints)
        log.info("%s; trying %s", reason, self.target.endpoints[self._current])
        if self.on_move is not None:
            self.on_move()

    async def close(self) -> None:
        for channel in self._channels:
            if channel is not None:
                await channel.close()

    async def range(self, request: rpc_pb2.RangeRequest, seconds: float = CALL_SECONDS) -> rpc_pb2.RangeResponse:
        answer: rpc_pb2.RangeResponse = await self._unary(lambda c: rpc_pb2_grpc.KVStub(c).Range, request, seconds)
        return answer

    async def txn(self, request: rpc_pb2.TxnRequest, seconds: float = CALL_SECONDS) -> rpc_pb2.TxnResponse:
        answer: rpc_pb2.TxnResponse = await self._unary(lambda c: rpc_pb2_grpc.KVStub(c).Txn, request, seconds)
        return answer

    async def grant(self, ttl_seconds: int) -> rpc_pb2.LeaseGrantResponse:
        request = rpc_pb2.LeaseGrantRequest(TTL=ttl_seconds)
        answer: rpc_pb2.LeaseGrantResponse = await self._unary(
            lambda c: rpc_pb2_grpc.LeaseStub(c).LeaseGrant, request, CALL_SECONDS
        )
        return answer

    async def revoke(self, lease: int) -> None:
        """Raises LeaseLostError if the lease does not exist any more."""
        request = rpc_pb2.LeaseRevokeRequest(ID=lease)
        await self._unary(lambda c: rpc_pb2_grpc.LeaseStub(c).LeaseRevoke, request, CALL_SECONDS)

    async def keep_alive(self, lease: int, seconds: float) -> int:
        """Renews a lease once. Returns its new lifetime in seconds, or 0 if it does not exist any more."""
        endpoint = self._current
        call: Any = rpc_pb2_grpc.LeaseStub(self.channel()).LeaseKeepAlive(timeout=seconds)
        try:
            await call.write(rpc_pb2.LeaseKeepAliveRequest(ID=lease))
            answer = await call.read()
        except aio.AioRpcError as failure:
            raise self._error_of(failure, endpoint) from failure
        except asyncio.InvalidStateError as error:  # the call ended before it was written to
            raise self._no_answer(endpoint, str(error)) from error
        finally:
            call.cancel()
        if answer is aio.EOF:
            raise self._no_answer(endpoint, "the stream ended")
        self.unavailable_reason = ""
        return int(answer.TTL)

    def _no_answer(self, endpoint: int, why: str) -> NoAnswerError:
        error = NoAnswerError(f"etcd at {self.target.endpoints[endpoint]} does not answer: {why}")
        self.leave_endpoint(endpoint, error.message)
        return error

    async def _unary(self, method: Callable[[aio.Channel], Any], request: Any, seconds: float) -> Any:
        endpoint = self._current
        try:
            answer = await method(self.channel())(request, timeout=seconds * self._timeout_factor)
        except aio.AioRpcError as failure:
            if failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                self._timeout_factor = min(2 * self._timeout_factor, _MOST_PATIENCE)
            raise self._error_of(failure, endpoint) from failure
        self.unavailable_reason, self._timeout_factor = "", max(1.0, self._timeout_factor / 2)
        return answer

    def _error_of(self, failure: aio.AioRpcError, endpoint: int) -> CoveyError:
        error = error_of(failure, self.target.endpoints[endpoint])
        if isinstance(error, NoAnswerError):
            self.leave_endpoint(endpoint, error.message)
        elif isinstance(error, DatabaseFullError):
            if not self.write_refusal_reason:
                log.warning("%s", error.message)
            self.write_refusal_reason = error.message
        return error


def _credentials(target: EtcdTarget) -> grpc.ChannelCredentials | None:
    if not target.tls:
        return None
    try:
        root, key, certificate = [
            Path(path).read_bytes() if path else None for path in (target.ca_file, target.key_file, target.cert_file)
        ]
    except OSError as error:
        raise UnavailableError(
            f"cannot read {error.filename} ({error.strerror}): check --store-ca, --store-cert and --store-key"
        ) from error
    return grpc.ssl_channel_credentials(root, key, certificate)
