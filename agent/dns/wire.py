"""DNS packets: reads questions and writes replies, by hand for speed. Pure.

Only the common shape is read: one question, perhaps with an OPT record (EDNS). Everything else is forwarded or refused.

Invariant: a reply repeats the question as it came, with the case and the order of its labels.

Layout: RFC 1035 section 4 and RFC 6891.
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from typing import NamedTuple

A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
TTL_SECONDS = 5  # tasks come and go, so clients must not cache an address for long
PLAIN_UDP_BYTES = 512
MAX_UDP_BYTES = 4096
MAX_TCP_BYTES = 65535

_HEADER = struct.Struct("!HHHHHH")
_TWO = struct.Struct("!HH")
_RECORD = struct.Struct("!HHHIH")  # pointer to the question's name, type, class, ttl, length
_POINTER = 0xC00C
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_OPCODE = 0x7800
_OPT_RECORD = b"\x00" + struct.pack("!HHIH", OPT, MAX_UDP_BYTES, 0, 0)


class Question(NamedTuple):
    """A parsed question. `name` is in lower case, without the last dot. `raw` is the question section as it came.

    `max_reply_bytes` is the size that a UDP reply may have.
    """

    flags: int
    name: bytes
    qtype: int
    raw: bytes
    max_reply_bytes: int
    has_edns: bool


class MalformedQueryError(ValueError):
    """The packet is not a question that a DNS server answers. `code` is the error to reply with, None for no reply."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


def read_question(packet: bytes) -> Question:
    """Parse the question of a packet. Raises MalformedQueryError for anything but one question of class IN."""
    if len(packet) < 12:
        raise MalformedQueryError(None)
    _, flags, questions, answers, _, additional = _HEADER.unpack_from(packet)
    if flags & _RESPONSE:
        raise MalformedQueryError(None)
    if flags & _OPCODE:
        raise MalformedQueryError(NOTIMP)
    if questions != 1 or answers:
        raise MalformedQueryError(FORMERR)
    labels: list[bytes] = []
    offset, end = 12, len(packet)
    while True:
        if offset >= end:
            raise MalformedQueryError(FORMERR)
        length = packet[offset]
        if length == 0:
            break
        if length > 63 or offset + 1 + length >= end or offset > 12 + 255:
            raise MalformedQueryError(FORMERR)
        labels.append(packet[offset + 1 : offset + 1 + length])
        offset += 1 + length
    if offset + 5 > end:
        raise MalformedQueryError(FORMERR)
    kind, class_ = _TWO.unpack_from(packet, offset + 1)
    if class_ not in {1, ANY}:
        raise MalformedQueryError(REFUSED)
    offset += 5
    raw = packet[12:offset]
    max_reply_bytes, has_edns = PLAIN_UDP_BYTES, False
    if additional and offset + 11 <= end and packet[offset] == 0:
        record, size = _TWO.unpack_from(packet, offset + 1)
        if record == OPT:
            max_reply_bytes, has_edns = min(max(size, PLAIN_UDP_BYTES), MAX_UDP_BYTES), True
    return Question(flags, b".".join(labels).lower(), kind, raw, max_reply_bytes, has_edns)


def address_reply(question: Question, found: tuple[bytes, ...], max_bytes: int) -> bytes:
    """The reply, without its id, with packed addresses of one family. Cut to `max_bytes` bytes with the truncation bit set."""
    size = len(found[0]) if found else 4
    head = _RECORD.pack(_POINTER, A if size == 4 else AAAA, 1, TTL_SECONDS, size)
    fits = (max_bytes - 12 - len(question.raw) - (len(_OPT_RECORD) if question.has_edns else 0)) // (len(head) + size)
    records = [head + address for address in found[:fits]]
    return reply(question, NOERROR, records, truncated=len(found) > fits)


def ptr_reply(question: Question, name: bytes) -> bytes:
    """The reply, without its id, with the name of an address."""
    encoded = b"".join(bytes((len(label),)) + label for label in name.split(b".")) + b"\0"
    return reply(question, NOERROR, [_RECORD.pack(_POINTER, PTR, 1, TTL_SECONDS, len(encoded)) + encoded])


def reply(question: Question, code: int, records: list[bytes] | None = None, *, truncated: bool = False) -> bytes:
    """A reply without the two bytes of its id."""
    records = records or []
    flags = _RESPONSE | _RECURSION_AVAILABLE | (question.flags & _RECURSION_DESIRED) | code
    if code == NOERROR:
        flags |= _AUTHORITATIVE
    if truncated:
        flags |= _TRUNCATED
    header = struct.pack("!HHHHH", flags, 1, len(records), 0, int(question.has_edns))
    return b"".join((header, question.raw, *records, _OPT_RECORD if question.has_edns else b""))


def error_reply(packet: bytes, code: int) -> bytes:
    """A complete packet with an error code, in reply to a packet that could not be parsed."""
    flags = struct.unpack_from("!H", packet, 2)[0]
    copied = flags & (_RECURSION_DESIRED | _OPCODE)
    return packet[:2] + struct.pack("!HHHHH", _RESPONSE | _RECURSION_AVAILABLE | copied | code, 0, 0, 0, 0)


def is_truncated(packet: bytes) -> bool:
    return bool(struct.unpack_from("!H", packet, 2)[0] & _TRUNCATED)


def is_reply_to(question_packet: bytes, raw: bytes, packet: bytes) -> bool:
    """True when `packet` is a response with the id and the question that were sent."""
    return (
        len(packet) >= 12 + len(raw)
        and packet[:2] == question_packet[:2]
        and bool(packet[2] & 0x80)
        and packet[12 : 12 + len(raw)].lower() == raw.lower()
    )


def reverse_address(name: bytes) -> str:
    """The address of a reverse name: `5.1.0.10.in-addr.arpa` gives `10.0.1.5`, anything else but one of ip6.arpa an empty string."""
    if name.endswith(b".ip6.arpa"):
        return _reverse_address6(name.removesuffix(b".ip6.arpa").split(b"."))
    if not name.endswith(b".in-addr.arpa"):
        return ""
    octets = name.removesuffix(b".in-addr.arpa").split(b".")
    if len(octets) != 4 or not all(octet.isdigit() and int(octet) < 256 for octet in octets):
        return ""
    return ".".join(str(int(octet)) for octet in reversed(octets))


def _reverse_address6(digits: list[bytes]) -> str:
    """The IPv6 address in its usual form, from 32 hexadecimal digits, the last one first."""
    if len(digits) != 32 or not all(len(digit) == 1 and digit in b"0123456789abcdef" for digit in digits):
        return ""
    return str(IPv6Address(int(b"".join(reversed(digits)), 16)))
