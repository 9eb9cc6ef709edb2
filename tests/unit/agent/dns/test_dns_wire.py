"""DNS packets, checked against dnslib."""

from __future__ import annotations

import socket
import struct

import dnslib
import pytest

from agent.dns import wire


def packet(name: str = "Web.Shop", kind: str = "A", **flags) -> bytes:
    return dnslib.DNSRecord.question(name, kind).pack()


def extended(name: str, size: int) -> bytes:
    record = dnslib.DNSRecord.question(name)
    record.add_ar(dnslib.EDNS0(udp_len=size))
    return record.pack()


def test_a_question_is_parsed_in_lower_case_and_keeps_its_raw_bytes():
    question = wire.read_question(packet())
    assert (question.name, question.qtype, question.max_reply_bytes, question.has_edns) == (
        b"web.shop",
        wire.A,
        512,
        False,
    )
    assert b"\x03Web\x04Shop\x00" in question.raw


def test_the_reply_size_of_an_edns_question_is_bounded():
    assert wire.read_question(extended("web", 1232)).max_reply_bytes == 1232
    assert wire.read_question(extended("web", 65000)).max_reply_bytes == wire.MAX_UDP_BYTES
    assert wire.read_question(extended("web", 100)).max_reply_bytes == 512


def test_dnslib_parses_an_address_reply():
    asked = packet()
    question = wire.read_question(asked)
    reply = dnslib.DNSRecord.parse(
        asked[:2] + wire.address_reply(question, (socket.inet_aton("10.0.1.5"), socket.inet_aton("10.0.1.6")), 512)
    )
    assert [str(item.rdata) for item in reply.rr] == ["10.0.1.5", "10.0.1.6"]
    assert (str(reply.q.qname), str(reply.rr[0].rname), reply.rr[0].ttl) == ("Web.Shop.", "Web.Shop.", wire.TTL_SECONDS)
    assert (reply.header.qr, reply.header.ra, reply.header.rd, reply.header.tc, reply.header.rcode) == (1, 1, 1, 0, 0)


@pytest.mark.parametrize(("asked", "size"), [(packet("many"), 512), (extended("many", 1232), 1232)])
def test_a_reply_that_is_too_large_is_truncated_with_the_bit_set(asked: bytes, size: int):
    question = wire.read_question(asked)
    answer = asked[:2] + wire.address_reply(
        question, tuple(socket.inet_aton(f"10.0.1.{i}") for i in range(200)), question.max_reply_bytes
    )
    assert size - 16 < len(answer) <= size
    reply = dnslib.DNSRecord.parse(answer)
    assert reply.header.tc == 1
    assert len(reply.ar) == int(size != 512)


def test_dnslib_parses_a_ptr_reply():
    asked = packet("5.1.0.10.in-addr.arpa", "PTR")
    reply = dnslib.DNSRecord.parse(asked[:2] + wire.ptr_reply(wire.read_question(asked), b"web.1.shop"))
    assert str(reply.rr[0].rdata) == "web.1.shop."


@pytest.mark.parametrize(
    ("damaged", "code"),
    [
        (b"", None),
        (b"\0" * 11, None),
        (packet()[:2] + b"\x80" + packet()[3:], None),
        (packet()[:2] + b"\x28" + packet()[3:], wire.NOTIMP),
        (packet()[:4] + b"\0\2" + packet()[6:], wire.FORMERR),
        (packet()[:12], wire.FORMERR),
        (packet()[:15], wire.FORMERR),
        (packet()[:-3], wire.FORMERR),
        (packet()[:12] + b"\xc0\x0c\0\1\0\1", wire.FORMERR),
        (packet()[:-1] + b"\3", wire.REFUSED),
        (packet()[:12] + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", wire.FORMERR),
    ],
)
def test_packets_that_are_not_questions_get_an_error_or_no_reply(damaged: bytes, code: int | None):
    with pytest.raises(wire.MalformedQueryError) as caught:
        wire.read_question(damaged)
    assert caught.value.code == code
    if code is not None:
        assert struct.unpack_from("!H", wire.error_reply(damaged, code), 2)[0] & 0xF == code


def test_only_well_formed_reverse_names_are_addresses():
    assert wire.reverse_address(b"5.1.0.10.in-addr.arpa") == "10.0.1.5"
    for wrong in (
        b"1.0.10.in-addr.arpa",
        b"x.1.0.10.in-addr.arpa",
        b"256.1.0.10.in-addr.arpa",
        b"5.1.0.10",
        b"\xff.1.0.10.in-addr.arpa",
    ):
        assert wire.reverse_address(wrong) == ""


def test_a_reply_to_another_question_does_not_count():
    asked = packet("a.example")
    question = wire.read_question(asked)
    good = asked[:2] + wire.address_reply(question, (b"\1\2\3\4",), 512)
    other = packet("b.example")
    assert wire.is_reply_to(asked, question.raw, good)
    assert not wire.is_reply_to(asked, question.raw, b"\0\0" + good[2:]) or asked[:2] == b"\0\0"
    assert not wire.is_reply_to(asked, question.raw, asked)
    assert not wire.is_reply_to(asked, question.raw, asked[:2] + wire.reply(wire.read_question(other), 0))


def test_a_name_of_the_greatest_length_is_read():
    """Three labels of 63 bytes, one of 61 and the root are the 255 bytes that a name may have."""
    longest = b"".join(bytes((size,)) + b"a" * size for size in (63, 63, 63, 61)) + b"\0"
    assert len(wire.read_question(packet()[:12] + longest + b"\0\1\0\1").raw) == 255 + 4
    longer = longest.replace(b"\x3d", b"\x3ea")
    with pytest.raises(wire.MalformedQueryError):
        wire.read_question(packet()[:12] + longer + b"\0\1\0\1")
