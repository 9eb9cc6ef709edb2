"""DNS server of one container: a UDP and a TCP socket inside its namespace, served from the agent's event loop.

Invariant: a question about the container's own networks is answered without waiting. Any other becomes one bounded task.

An nftables rule in the container redirects 127.0.0.11:53 to these sockets, so port 53 stays free for the application.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

from agent.dns import wire
from agent.dns.forwarder import DnsForwarder, receive_message
from agent.dns.negative_cache import NegativeCache
from agent.dns.upstream import RESOLVER_ADDRESS, Upstream
from agent.dns.zone import Zone, ZoneAnswer

logger = logging.getLogger(__name__)

PREFERRED_PORT = 41053
"""The same after a daemon restart, so that flows continue. Another port when the application uses this one."""
PACKETS_PER_WAKEUP = 64
MAX_FORWARDED_QUERIES = 128
MAX_CONNECTIONS = 32
CONNECTION_IDLE_SECONDS = 10.0
_CACHE_BYTES = 256 << 10
_MAX_ROTATIONS = 16

T = TypeVar("T")
Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None] | None"]


class ResolverSockets(NamedTuple):
    udp: socket.socket
    tcp: socket.socket

    @property
    def udp_port(self) -> int:
        return int(self.udp.getsockname()[1])

    @property
    def tcp_port(self) -> int:
        return int(self.tcp.getsockname()[1])

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()


def open_sockets() -> ResolverSockets:
    """Open and bind the sockets in the calling thread's namespace, whose loopback must be up."""
    udp = _bound(socket.SOCK_DGRAM)
    try:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        tcp = _bound(socket.SOCK_STREAM)
    except OSError:
        udp.close()
        raise
    tcp.listen(MAX_CONNECTIONS)
    return ResolverSockets(udp, tcp)


def _bound(kind: int) -> socket.socket:
    link = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if kind == socket.SOCK_STREAM:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            link.bind((RESOLVER_ADDRESS, PREFERRED_PORT))
        except OSError:
            link.bind((RESOLVER_ADDRESS, 0))
    except OSError:
        link.close()
        raise
    return link


class ContainerResolver:
    """The DNS server. It owns the sockets from `start` to `stop`, and the way to nameservers."""

    def __init__(
        self,
        sockets: ResolverSockets,
        zone: Zone,
        forwarder: DnsForwarder,
        spawn: Spawn,
        upstream: Upstream,
    ) -> None:
        self._sockets = sockets
        self._zone = zone
        self._forwarder = forwarder
        self._spawn = spawn
        self._upstream = upstream
        self._answers: dict[bytes, tuple[bytes, ...]] = {}
        self._answers_bytes = 0
        self._negative = NegativeCache()
        self._rotation = random.randrange(1 << 16)  # noqa: S311 (spreads load, no secret)
        self._tasks: set[asyncio.Task[None]] = set()
        self._forwarded = 0
        self._connections = 0

    def start(self) -> None:
        """Start serving. Called on the event loop."""
        asyncio.get_running_loop().add_reader(self._sockets.udp.fileno(), self._read_packets)
        self._spawn_owned(self._accept())

    async def stop(self) -> None:
        """Stop serving and close the sockets. Stopping again does nothing."""
        if self._sockets.udp.fileno() < 0:
            return
        asyncio.get_running_loop().remove_reader(self._sockets.udp.fileno())
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._sockets.close()
        self._upstream.close()

    def set_zone(self, zone: Zone) -> None:
        """Answer from this zone from now on."""
        self._zone = zone
        self._forget()

    def answer(self, packet: bytes, *, over_tcp: bool = False) -> bytes | wire.Question | None:
        """The reply if the zone has one, the question if it must be forwarded, None if the packet deserves no reply."""
        ready = None if over_tcp else self._answers.get(packet[2:])
        if ready is None:
            try:
                question = wire.read_question(packet)
            except wire.MalformedQueryError as error:
                return None if error.code is None else wire.error_reply(packet, error.code)
            if question.edns_version:
                return packet[:2] + wire.bad_version_reply(question)
            found = self._zone.find(question.name, question.qtype)
            if found is None:
                return self._negative.find(packet, time.monotonic()) or question
            ready = _rotations(question, found, wire.MAX_TCP_BYTES if over_tcp else question.max_reply_bytes)
            if not over_tcp:
                self._remember(packet[2:], ready)
        self._rotation += 1
        return packet[:2] + ready[self._rotation % len(ready)]

    def _remember(self, asked: bytes, ready: tuple[bytes, ...]) -> None:
        """Keep a reply in all its rotations. Memory for them is bounded, because a container chooses what it asks."""
        size = len(asked) + sum(map(len, ready))
        if self._answers_bytes + size > _CACHE_BYTES:
            self._forget()
        if size <= _CACHE_BYTES:
            self._answers[asked] = ready
            self._answers_bytes += size

    def _forget(self) -> None:
        self._answers.clear()
        self._answers_bytes = 0

    def _spawn_owned(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._spawn(work)
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _read_packets(self) -> None:
        udp = self._sockets.udp
        for _ in range(PACKETS_PER_WAKEUP):
            try:
                packet, peer = udp.recvfrom(wire.MAX_UDP_BYTES + 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # an ICMP error caused by an earlier reply
                logger.debug("DNS socket of a container: %s", error)
                continue
            if len(packet) > wire.MAX_UDP_BYTES:
                self._send(wire.error_reply(packet, wire.FORMERR), peer)
                continue
            reply = self.answer(packet)
            if isinstance(reply, wire.Question):
                self._forward_packet(packet, reply, peer)
            elif reply is not None:
                self._send(reply, peer)

    def _forward_packet(self, packet: bytes, question: wire.Question, peer: Any) -> None:
        if self._forwarded >= MAX_FORWARDED_QUERIES:
            self._send(packet[:2] + wire.reply(question, wire.SERVFAIL), peer)
            return

        async def forward() -> None:
            try:
                self._send(await self._ask(packet, question, over_tcp=False), peer)
            finally:
                self._forwarded -= 1

        self._forwarded += 1
        self._spawn_owned(forward())

    async def _ask(self, packet: bytes, question: wire.Question, *, over_tcp: bool) -> bytes:
        """The answer of a nameserver, which is remembered if it says that something does not exist."""
        reply = await self._forwarder.ask(packet, question, self._upstream, over_tcp=over_tcp)
        self._negative.put(packet, question, reply, time.monotonic())
        return reply

    def _send(self, reply: bytes, peer: Any) -> None:
        try:
            self._sockets.udp.sendto(reply, peer)
        except OSError as error:  # the client is gone or its buffer is full: it asks again
            logger.debug("DNS reply to %s not sent: %s", peer, error)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                link, _ = await loop.sock_accept(self._sockets.tcp)
            except OSError as error:
                logger.debug("DNS server of a container cannot accept: %s", error)
                await asyncio.sleep(0.1)
                continue
            if self._connections >= MAX_CONNECTIONS:
                link.close()
                continue
            self._connections += 1
            self._spawn_owned(self._serve_connection(link))

    async def _serve_connection(self, link: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            with link:
                while True:
                    async with asyncio.timeout(CONNECTION_IDLE_SECONDS):
                        packet = await receive_message(link)
                        reply = self.answer(packet, over_tcp=True)
                        if isinstance(reply, wire.Question):
                            reply = await self._ask(packet, reply, over_tcp=True)
                        if reply is None:
                            return
                        await loop.sock_sendall(link, len(reply).to_bytes(2, "big") + reply)
                    await asyncio.sleep(0)  # full buffers make nothing above wait, and other work must run in between
        except (OSError, EOFError, TimeoutError):
            return
        finally:
            self._connections -= 1


def _rotations(question: wire.Question, found: ZoneAnswer, max_bytes: int) -> tuple[bytes, ...]:
    """The reply in several rotations, so that clients that take the first address or place spread over all."""
    if found.pointer:
        return (wire.ptr_reply(question, found.pointer),)
    if found.places:
        return tuple(wire.srv_reply(question, part, max_bytes) for part in _rotated(found.places))
    return tuple(wire.address_reply(question, part, max_bytes) for part in _rotated(found.addresses))


def _rotated(items: tuple[T, ...]) -> list[tuple[T, ...]]:
    count = min(max(len(items), 1), _MAX_ROTATIONS)
    starts = [rotation * len(items) // count for rotation in range(count)]
    return [items[start:] + items[:start] for start in starts]
