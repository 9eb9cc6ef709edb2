"""DNS packets from anyone: what is read ends, what is answered fits and can be parsed."""

from __future__ import annotations

import dnslib
from hypothesis import given
from hypothesis import strategies as st

from agent.dns import wire
from agent.dns.wire import ServiceTarget

headers = st.binary(min_size=2, max_size=2).map(lambda found: found + b"\1\0\0\1\0\0\0\0\0\1")
parts = st.binary(max_size=63).map(lambda found: bytes((len(found),)) + found) | st.binary(max_size=20)
hostile = st.binary(max_size=600) | st.tuples(headers, st.lists(parts, max_size=12).map(b"".join)).map(b"".join)
labels = st.text("aZ0-_", max_size=70).map(str.encode)
names = st.lists(labels, max_size=6).map(b".".join)
addresses = st.lists(st.binary(min_size=4, max_size=4), max_size=400).map(tuple)
targets = st.lists(st.builds(ServiceTarget, names, addresses.map(lambda found: found[:3]), st.integers(0, 65535)))
questions = st.tuples(st.sampled_from(["web", "a.b.c", "x" * 63]), st.integers(0, 65535), st.booleans())


def asked(name: str, size: int, has_edns: bool) -> tuple[bytes, wire.Question]:
    record = dnslib.DNSRecord.question(name, "SRV")
    if has_edns:
        record.add_ar(dnslib.EDNS0(udp_len=size))
    packet = record.pack()
    return packet, wire.read_question(packet)


@given(hostile)
def test_a_packet_is_a_question_or_refused(packet: bytes) -> None:
    try:
        question = wire.read_question(packet)
    except wire.MalformedQueryError as error:
        refused = error.code
    else:
        check_replies(question)
        return
    assert refused is None or len(wire.error_reply(packet, refused)) == 12


def check_replies(question: wire.Question) -> None:
    assert len(question.raw) <= 255 + 5
    for reply in (wire.reply(question, wire.SERVFAIL), wire.bad_version_reply(question)):
        assert len(reply) + 2 <= wire.PLAIN_UDP_BYTES


@given(questions, addresses, targets, names)
def test_a_reply_fits_and_can_be_parsed(question, found, places, pointer) -> None:
    packet, read = asked(*question)
    size = read.max_reply_bytes
    for reply in (wire.address_reply(read, found, size), wire.srv_reply(read, tuple(places), size)):
        assert len(reply) + 2 <= size
        dnslib.DNSRecord.parse(packet[:2] + reply)
    dnslib.DNSRecord.parse(packet[:2] + wire.ptr_reply(read, pointer))


@given(st.binary(max_size=600), st.binary(max_size=300))
def test_only_a_response_to_the_question_counts(reply: bytes, raw: bytes) -> None:
    query = b"\x12\x34" + b"\0" * 10 + raw
    if wire.is_reply_to(query, raw, reply):
        assert reply[:2] == query[:2]
        assert reply[12 : 12 + len(raw)].lower() == raw.lower()
