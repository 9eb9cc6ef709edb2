"""DNS packets: reads questions and writes replies, by hand for speed. Pure.

Only the common shape is read: one question, perhaps with an OPT record (EDNS). Everything else is forwarded or refused.

Invariant: a reply repeats the question as it came, with the case and the order of its labels.

Layout: RFC 1035 section 4, RFC 6891 (EDNS), RFC 2782 (SRV) and RFC 2308 (empty answers).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import NamedTuple

A, SOA, PTR, AAAA, SRV, OPT, ANY = 1, 6, 12, 28, 33, 41, 255
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
_DNSSEC_OK = 0x8000
_BAD_VERSION = 0x01000000  # the upper bits of error 16, in the OPT record
_MAX_NAME_BYTES, _MAX_LABEL_BYTES = 255, 63
_NO_DATA = struct.pack("!HHHIH", _POINTER, SOA, 1, TTL_SECONDS, 22) + struct.pack(
    "!BBIIIII", 0, 0, 1, TTL_SECONDS, TTL_SECONDS, TTL_SECONDS, TTL_SECONDS
)
"""Says for how long a client may remember that a name has no record of a type. The name is its own zone."""


class Question(NamedTuple):
    """A parsed question. `name` is in lower case, without the last dot. `raw` is the question section as it came.

    `max_reply_bytes` is the size that a UDP reply may have. `edns_version` is above 0 when a client speaks a version that nobody knows yet.
    """

    flags: int
    name: bytes
    qtype: int
    raw: bytes
    max_reply_bytes: int
    has_edns: bool
    dnssec_ok: bool = False
    edns_version: int = 0

    @property
    def opt_record(self) -> bytes:
        """The OPT record of the reply, which repeats whether the client wants signatures (RFC 3225)."""
        return _opt_record(_DNSSEC_OK * self.dnssec_ok) if self.has_edns else b""


class ServiceTarget(NamedTuple):
    """A place where a service answers: its host name, that name's packed addresses, and the port there."""

    name: bytes
    addresses: tuple[bytes, ...]
    port: int


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
        if length > 63 or offset + 1 + length >= end or offset + length > 12 + _MAX_NAME_BYTES - 2:
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
    name = b".".join(labels).lower()
    if additional and offset + 11 <= end and packet[offset] == 0:
        record, size, _, version, extended = struct.unpack_from("!HHBBH", packet, offset + 1)
        if record == OPT:
            size = min(max(size, PLAIN_UDP_BYTES), MAX_UDP_BYTES)
            return Question(flags, name, kind, raw, size, True, bool(extended & _DNSSEC_OK), version)
    return Question(flags, name, kind, raw, PLAIN_UDP_BYTES, has_edns=False)


def address_reply(question: Question, found: tuple[bytes, ...], max_bytes: int) -> bytes:
    """The reply, without its id, with packed addresses of one family. Cut to `max_bytes` bytes with the truncation bit set."""
    if not found:
        return reply(question, NOERROR, authority=[_NO_DATA])
    size = len(found[0])
    head = _RECORD.pack(_POINTER, A if size == 4 else AAAA, 1, TTL_SECONDS, size)
    fits = (max_bytes - _reserved_bytes(question)) // (len(head) + size)
    records = [head + address for address in found[:fits]]
    return reply(question, NOERROR, records, truncated=len(found) > fits)


def ptr_reply(question: Question, name: bytes) -> bytes:
    """The reply, without its id, with the name of an address; without a record if the name is none that DNS can carry."""
    encoded = encode_name(name)
    if not encoded:
        return reply(question, NOERROR, authority=[_NO_DATA])
    return reply(question, NOERROR, [_RECORD.pack(_POINTER, PTR, 1, TTL_SECONDS, len(encoded)) + encoded])


def srv_reply(question: Question, found: tuple[ServiceTarget, ...], max_bytes: int) -> bytes:
    """The reply, without its id, with the places of a service, and with their addresses as far as they fit.

    The places are cut to `max_bytes` bytes with the truncation bit set.
    """
    space = max_bytes - _reserved_bytes(question)
    records: list[bytes] = []
    places: list[bytes] = []
    targets = [(target, encode_name(target.name)) for target in found]
    targets = [(target, name) for target, name in targets if name]
    if not targets:
        return reply(question, NOERROR, authority=[_NO_DATA])
    for target, name in targets:
        data = struct.pack("!HHH", 0, 1, target.port) + name
        record = _RECORD.pack(_POINTER, SRV, 1, TTL_SECONDS, len(data)) + data
        if len(record) > space:
            return reply(question, NOERROR, records, truncated=True)
        space -= len(record)
        records.append(record)
    for target, name in targets:
        for address in target.addresses:
            kind = A if len(address) == 4 else AAAA
            place = name + struct.pack("!HHIH", kind, 1, TTL_SECONDS, len(address)) + address
            if len(place) <= space:
                space -= len(place)
                places.append(place)
    return reply(question, NOERROR, records, additional=places)


def reply(
    question: Question,
    code: int,
    records: Sequence[bytes] = (),
    *,
    authority: Sequence[bytes] = (),
    additional: Sequence[bytes] = (),
    truncated: bool = False,
) -> bytes:
    """A reply without the two bytes of its id."""
    flags = _RESPONSE | _RECURSION_AVAILABLE | (question.flags & _RECURSION_DESIRED) | code
    if code == NOERROR:
        flags |= _AUTHORITATIVE
    if truncated:
        flags |= _TRUNCATED
    more = len(additional) + question.has_edns
    header = struct.pack("!HHHHH", flags, 1, len(records), len(authority), more)
    return b"".join((header, question.raw, *records, *authority, *additional, question.opt_record))


def truncated_reply(question: Question) -> bytes:
    """The reply, without its id, that makes the client ask again over TCP."""
    return reply(question, NOERROR, truncated=True)


def bad_version_reply(question: Question) -> bytes:
    """The reply, without its id, to an EDNS version that nobody knows yet. It names the version that is known, 0."""
    header = struct.pack("!HHHHH", _RESPONSE | _RECURSION_AVAILABLE | (question.flags & _RECURSION_DESIRED), 1, 0, 0, 1)
    return header + question.raw + _opt_record(_BAD_VERSION)


def encode_name(name: bytes) -> bytes:
    """A name as DNS writes it; empty if a label or the whole is too long or a label is empty."""
    labels = name.split(b".")
    encoded = b"".join(bytes((min(len(label), 255),)) + label for label in labels) + b"\0"
    if len(encoded) > _MAX_NAME_BYTES or not all(0 < len(label) <= _MAX_LABEL_BYTES for label in labels):
        return b""
    return encoded


def _opt_record(extended: int) -> bytes:
    return b"\0" + struct.pack("!HHIH", OPT, MAX_UDP_BYTES, extended, 0)


def _reserved_bytes(question: Question) -> int:
    """What header, question and OPT record take of a reply."""
    return 12 + len(question.raw) + len(question.opt_record)


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
