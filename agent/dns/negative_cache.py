"""Negative cache: what nameservers said does not exist, for as long as they said so (RFC 2308). Pure.

Invariant: names of the container's networks are looked up before this cache. Invariant: it has a bound, and nothing stays in it longer
than MAX_SECONDS, because a nameserver may be wrong and a name may come into being.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

from agent.dns import wire

MAX_SECONDS = 10
MAX_BYTES = 64 << 10
_MAX_RECORDS = 16
_RECORD = struct.Struct("!HHIH")  # type, class, ttl, length
_SOA_BYTES = 22  # two empty names and five numbers, of which the last is the time to live of what does not exist


class NegativeAnswer(NamedTuple):
    """Where a reply says for how long it holds, and for how many seconds."""

    ttl_offset: int
    seconds: int


class _Entry(NamedTuple):
    reply: bytes
    ttl_offset: int
    until: float


class NegativeCache:
    """One per container. Replies are kept by the bytes of the question. `now` is a time in seconds that never goes back."""

    def __init__(self) -> None:
        self._entries: dict[bytes, _Entry] = {}
        self._bytes = 0

    def find(self, packet: bytes, now: float) -> bytes | None:
        """The reply to the question, with the time that is left of it; None if nothing is known."""
        entry = self._entries.get(packet[2:])
        if entry is None:
            return None
        left = math.ceil(entry.until - now)
        if left <= 0:
            return None
        offset = entry.ttl_offset
        return packet[:2] + entry.reply[2:offset] + left.to_bytes(4, "big") + entry.reply[offset + 4 :]

    def put(self, packet: bytes, question: wire.Question, reply: bytes, now: float) -> None:
        """Keep a nameserver's reply if it says that something does not exist, and for how long."""
        found = negative_answer(question, reply)
        if found is None or found.seconds <= 0 or len(reply) > question.max_reply_bytes:
            return
        size = len(packet) + len(reply)
        if packet[2:] not in self._entries:
            if self._bytes + size > MAX_BYTES:
                self._entries.clear()
                self._bytes = 0
            self._bytes += size
        self._entries[packet[2:]] = _Entry(reply, found.ttl_offset, now + min(found.seconds, MAX_SECONDS))


def negative_answer(question: wire.Question, reply: bytes) -> NegativeAnswer | None:
    """What a reply says about what does not exist; None if it says something else, or is malformed. No name in it is followed."""
    if len(reply) < 12 + len(question.raw):
        return None
    flags, questions, answers, authority = struct.unpack_from("!HHHH", reply, 2)
    code = flags & 0x0F
    if wire.is_truncated(reply) or questions != 1 or answers or code not in {wire.NOERROR, wire.NXDOMAIN}:
        return None
    offset = 12 + len(question.raw)
    for _ in range(min(authority, _MAX_RECORDS)):
        offset = _skip_name(reply, offset)
        if offset < 0 or offset + _RECORD.size > len(reply):
            return None
        kind, _, ttl, length = _RECORD.unpack_from(reply, offset)
        end = offset + _RECORD.size + length
        if end > len(reply):
            return None
        if kind == wire.SOA:
            if length < _SOA_BYTES:
                return None
            minimum = int.from_bytes(reply[end - 4 : end], "big")
            return NegativeAnswer(offset + 4, min(ttl, minimum))
        offset = end
    return None


def _skip_name(packet: bytes, offset: int) -> int:
    """The offset after a name, which a pointer ends; -1 if it does not end."""
    while offset < len(packet):
        length = packet[offset]
        if length == 0:
            return offset + 1
        if length >= 0xC0:
            return offset + 2
        if length > 63:
            return -1
        offset += 1 + length
    return -1
