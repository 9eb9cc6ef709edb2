"""DNS forwarder: asks nameservers the questions that no container network answers.

Invariant: every question has a deadline and the number of concurrent questions has a bound. A question over the bound is
answered with SERVFAIL at once, one without an answer in time with SERVFAIL at its deadline.
Invariant: a reply counts only over a socket connected to the server, with the id and the question that were sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time

from agent.dns import wire
from agent.dns.upstream import Upstream

logger = logging.getLogger(__name__)

DNS_PORT = 53
SERVER_TIMEOUT_SECONDS = 2.0
QUERY_TIMEOUT_SECONDS = 5.0
MAX_CONCURRENT_QUERIES = 512
_ROUNDS = 2
_MAX_WRONG_REPLIES = 16
"""A flood of them would not let other work run, because receiving one that is there does not wait."""
_TRY_NEXT_SERVER = {wire.SERVFAIL, wire.REFUSED, wire.NOTIMP}


class DnsForwarder:
    """Shared by all containers of a host."""

    def __init__(self, *, port: int = DNS_PORT) -> None:
        self._port = port
        self._concurrent = 0

    async def ask(self, packet: bytes, question: wire.Question, upstream: Upstream, *, over_tcp: bool) -> bytes:
        """The answer as a complete packet that fits the client, or SERVFAIL."""
        failure = packet[:2] + wire.reply(question, wire.SERVFAIL)
        if self._concurrent >= MAX_CONCURRENT_QUERIES:
            return failure
        self._concurrent += 1
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_SECONDS):
                found = await self._ask_in_turn(packet, question, upstream, over_tcp) or failure
        except TimeoutError:
            return failure
        finally:
            self._concurrent -= 1
        if not over_tcp and len(found) > question.max_reply_bytes:  # more than the client said it can take
            return packet[:2] + wire.truncated_reply(question)
        return found

    async def _ask_in_turn(
        self, packet: bytes, question: wire.Question, upstream: Upstream, over_tcp: bool
    ) -> bytes | None:
        best: bytes | None = None
        query = os.urandom(2) + packet[2:]
        for server in upstream.servers() * _ROUNDS:
            started = time.monotonic()
            try:
                async with asyncio.timeout(SERVER_TIMEOUT_SECONDS):
                    reply = await self._ask_udp(upstream, server, query, question.raw)
                    if over_tcp and wire.is_truncated(reply):
                        reply = await self._ask_tcp(upstream, server, query, question.raw)
            except (OSError, TimeoutError, EOFError) as error:
                logger.debug(
                    "nameserver %s did not answer within %.2f s: %r", server, time.monotonic() - started, error
                )
                continue
            best = packet[:2] + reply[2:]
            if reply[3] & 0x0F not in _TRY_NEXT_SERVER:
                return best
        return best

    async def _ask_udp(self, upstream: Upstream, server: str, query: bytes, raw: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        with upstream.open(server, socket.SOCK_DGRAM) as link:
            link.setblocking(False)
            link.connect((server, self._port))
            await loop.sock_sendall(link, query)
            for _ in range(_MAX_WRONG_REPLIES):
                reply = await loop.sock_recv(link, wire.MAX_TCP_BYTES)
                if wire.is_reply_to(query, raw, reply):
                    return reply
            raise EOFError(f"nameserver {server} answered other questions only")

    async def _ask_tcp(self, upstream: Upstream, server: str, query: bytes, raw: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        with upstream.open(server, socket.SOCK_STREAM) as link:
            link.setblocking(False)
            await loop.sock_connect(link, (server, self._port))
            await loop.sock_sendall(link, len(query).to_bytes(2, "big") + query)
            reply = await receive_message(link)
            if not wire.is_reply_to(query, raw, reply):
                raise EOFError(f"nameserver {server} answered another question")
            return reply


async def receive_message(link: socket.socket) -> bytes:
    """Receive one length-prefixed message of DNS over TCP. Raises EOFError when the peer closes first."""
    length = int.from_bytes(await _receive_exactly(link, 2), "big")
    return await _receive_exactly(link, length)


async def _receive_exactly(link: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < size:
        part = await loop.sock_recv(link, size - len(data))
        if not part:
            raise EOFError("the connection was closed inside a message")
        data += part
    return bytes(data)
