"""Answers of a container's resolver from its zone, without sockets: what it keeps, forgets and refuses."""

from __future__ import annotations

import socket

import dnslib
from hypothesis import given
from hypothesis import strategies as st

from agent.dns import server, wire
from agent.dns.forwarder import DnsForwarder
from agent.dns.server import ContainerResolver, ResolverSockets
from agent.dns.upstream import Upstream, open_sockets_here
from agent.dns.zone import LocalMember, Zone, build_local_zone


def resolver(*addresses: str) -> ContainerResolver:
    sockets = ResolverSockets(socket.socket(), socket.socket())
    upstream = Upstream(open_sockets_here, open_sockets_here, tuple)
    sockets.close()  # nothing here is sent
    return ContainerResolver(sockets, zone(*addresses), DnsForwarder(), lambda work: work.close(), upstream)


def zone(*addresses: str) -> Zone:
    return Zone((build_local_zone("net", [LocalMember(("db",), addresses, (("tcp", 5432),))]),))


def asked(name: str = "db", kind: str = "A", *, pad: int = 0) -> bytes:
    record = dnslib.DNSRecord.question(name, kind)
    record.add_ar(dnslib.EDNS0(udp_len=4096, opts=[dnslib.EDNSOption(12, b"\0" * pad)] if pad else None))
    return bytes(record.pack())


def addresses(found: object) -> list[str]:
    assert isinstance(found, bytes)
    return [str(item.rdata) for item in dnslib.DNSRecord.parse(found).rr]


def test_a_repeated_question_gets_the_next_rotation_and_its_own_id() -> None:
    one = resolver("10.0.0.1", "10.0.0.2", "10.0.0.3")
    firsts = set()
    for number in range(6):
        packet = number.to_bytes(2, "big") + asked()[2:]
        found = one.answer(packet)
        assert isinstance(found, bytes)
        assert found[:2] == packet[:2]
        firsts.add(addresses(found)[0])
    assert firsts == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}


def test_a_new_zone_is_answered_from_at_once() -> None:
    one = resolver("10.0.0.1")
    assert addresses(one.answer(asked())) == ["10.0.0.1"]
    one.set_zone(zone("10.0.0.2"))
    assert addresses(one.answer(asked())) == ["10.0.0.2"]


def test_memory_for_replies_is_bounded_however_different_the_questions_are() -> None:
    one = resolver(*(f"10.0.{number // 250}.{number % 250}" for number in range(200)))
    for number in range(2_000):
        assert addresses(one.answer(asked(pad=number)))
        kept = sum(len(key) + sum(map(len, replies)) for key, replies in one._answers.items())
        assert kept <= server._CACHE_BYTES
    assert one._answers, "nothing is kept at all"


def test_a_later_version_of_edns_is_refused_and_a_port_is_answered() -> None:
    record = dnslib.DNSRecord.question("db")
    record.add_ar(dnslib.EDNS0(version=1))
    refused = resolver("10.0.0.1").answer(bytes(record.pack()))
    assert isinstance(refused, bytes)
    assert dnslib.DNSRecord.parse(refused).rr == []
    assert addresses(resolver("10.0.0.1").answer(asked("_5432._tcp.db", "SRV"))) == ["0 1 5432 db.net."]


@given(st.binary(max_size=700), st.booleans())
def test_any_packet_has_a_reply_that_fits_a_question_to_forward_or_nothing(packet: bytes, over_tcp: bool) -> None:
    found = resolver("10.0.0.1").answer(packet, over_tcp=over_tcp)
    if isinstance(found, bytes):
        assert found[:2] == packet[:2]
        assert len(found) <= wire.PLAIN_UDP_BYTES or wire.read_question(packet).has_edns
