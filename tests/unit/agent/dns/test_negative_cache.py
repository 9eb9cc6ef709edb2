"""What nameservers say does not exist: for how long it is kept, and what is not."""

from __future__ import annotations

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dns import wire
from agent.dns.negative_cache import MAX_BYTES, MAX_SECONDS, NegativeCache, negative_answer

ASKED = dnslib.DNSRecord.question("never.example")
PACKET = bytes(ASKED.pack())
QUESTION = wire.read_question(PACKET)


def refusal(*, ttl: int = 5, minimum: int = 7, code: int = wire.NXDOMAIN, truncated: bool = False) -> bytes:
    reply = ASKED.reply()
    reply.header.rcode, reply.header.tc = code, int(truncated)
    reply.add_auth(*dnslib.RR.fromZone("example. 60 NS ns.example."))
    reply.add_auth(*dnslib.RR.fromZone(f"example. {ttl} SOA ns.example. root.example. 1 60 60 60 {minimum}"))
    return reply.pack()


def kept(reply: bytes) -> NegativeCache:
    cache = NegativeCache()
    cache.put(PACKET, QUESTION, reply, 100.0)
    return cache


@pytest.mark.parametrize("code", [wire.NXDOMAIN, wire.NOERROR])
@pytest.mark.parametrize(("ttl", "minimum", "seconds"), [(5, 7, 5), (7, 5, 5), (9999, 9999, MAX_SECONDS)])
def test_a_reply_holds_for_the_smaller_time_that_it_gives(code: int, ttl: int, minimum: int, seconds: int) -> None:
    cache = kept(refusal(ttl=ttl, minimum=minimum, code=code))
    again = b"\x55\x66" + PACKET[2:]
    found = cache.find(again, 102.0)
    assert found is not None
    shown = dnslib.DNSRecord.parse(found)
    assert (found[:2], shown.header.rcode, shown.auth[-1].ttl) == (b"\x55\x66", code, seconds - 2)
    assert cache.find(again, 100.0 + seconds) is None


def test_only_what_says_that_something_does_not_exist_is_kept() -> None:
    answer = ASKED.reply()
    answer.add_answer(*dnslib.RR.fromZone("never.example. 60 A 192.0.2.1"))
    answer.add_auth(*dnslib.RR.fromZone("example. 60 SOA ns.example. root.example. 1 60 60 60 60"))
    bare = ASKED.reply()
    bare.header.rcode = wire.NXDOMAIN
    for reply in (
        answer.pack(), bare.pack(), refusal(code=wire.SERVFAIL), refusal(truncated=True), refusal(ttl=0), refusal(minimum=0),
    ):  # fmt: skip
        assert kept(reply).find(PACKET, 100.0) is None
    assert kept(refusal()).find(bytes(dnslib.DNSRecord.question("other.example").pack()), 100.0) is None


def test_the_cache_has_a_bound() -> None:
    cache = NegativeCache()
    packets = [bytes(dnslib.DNSRecord.question(f"n{number}.example").pack()) for number in range(2_000)]
    for packet in packets:
        question = wire.read_question(packet)
        soa = dnslib.DNSRecord.parse(packet).reply()
        soa.header.rcode = wire.NXDOMAIN
        soa.add_auth(*dnslib.RR.fromZone("example. 60 SOA ns.example. root.example. 1 60 60 60 60"))
        reply = soa.pack()
        cache.put(packet, question, reply, 100.0)
    found = sum(cache.find(packet, 100.0) is not None for packet in packets)
    assert 0 < found * (len(packets[0]) + len(reply)) <= MAX_BYTES
    assert cache.find(packets[-1], 100.0) is not None


@given(st.binary(max_size=200), st.integers(0, 65535), st.sampled_from([wire.NXDOMAIN, wire.NOERROR]))
def test_hostile_replies_end_and_are_read_inside_their_bytes(rest: bytes, records: int, code: int) -> None:
    head = PACKET[:2] + (0x8180 | code).to_bytes(2, "big") + b"\0\1\0\0" + records.to_bytes(2, "big") + b"\0\0"
    reply = head + QUESTION.raw + rest
    found = negative_answer(QUESTION, reply)
    if found is not None:
        assert len(head + QUESTION.raw) < found.ttl_offset <= len(reply) - 4
        again = kept(reply).find(PACKET, 100.0)
        assert again is None or len(again) == len(reply)


def test_a_loop_of_compressed_names_ends() -> None:
    head = PACKET[:2] + b"\x81\x83\0\1\0\0\0\2\0\0" + QUESTION.raw
    pointer = (0xC000 | len(head)).to_bytes(2, "big")
    soa = b"\0\6\0\1\0\0\0\5\0\x18" + pointer + pointer + b"\0\0\0\5" * 5
    assert negative_answer(QUESTION, head + pointer + soa) == (len(head) + 6, 5)
    assert negative_answer(QUESTION, head + pointer + soa[:-2]) is None
    assert negative_answer(QUESTION, head + b"\x3f" + pointer) is None
