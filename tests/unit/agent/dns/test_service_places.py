"""SRV records: which ports of which services have one, and where they lead, as dnslib reads the replies."""

from __future__ import annotations

import socket
import struct

import dnslib

from agent.dns import wire, zone
from agent.dns.wire import ServiceTarget
from agent.dns.zone import LocalMember, NetworkZone, Zone
from covey.objects import PortConfig
from covey.objects.assignment import NetworkEndpoint, VirtualService
from covey.states import EndpointMode, Protocol

PORTS = (
    PortConfig(name="http", target_port=8080, published_port=80),
    PortConfig(target_port=53, protocol=Protocol.UDP),
)
WEB = VirtualService(
    id="s/n", service_id="s", name="Web", address="10.0.1.100", address6="fd00::100", aliases=("front",), ports=PORTS
)
ROUND = VirtualService(id="s/n", service_id="s", name="Web", mode=EndpointMode.DNSRR, ports=PORTS)


def task(last: int, *, ready: bool = True) -> NetworkEndpoint:
    return NetworkEndpoint(
        id=f"t{last}/n", address=f"10.0.1.{last}", service_id="s", task_name=f"Web.{last}.id", ready=ready
    )


def ask(names: NetworkZone, name: str, *, size: int = 512) -> dnslib.DNSRecord:
    asked = dnslib.DNSRecord.question(name, "SRV")
    packet = asked.pack()
    question = wire.read_question(packet)
    found = Zone((names,)).find(question.name, question.qtype)
    assert found is not None, "it would be forwarded"
    reply = packet[:2] + wire.srv_reply(question, found.places, size)
    assert len(reply) <= size
    return dnslib.DNSRecord.parse(reply)


def places(reply: dnslib.DNSRecord) -> list[tuple[str, int]]:
    return [(str(item.rdata.target), item.rdata.port) for item in reply.rr]


def test_a_port_of_a_service_leads_to_its_vip_by_name_and_by_number():
    names = zone.build_network_zone("shop", [task(5)], [WEB])
    for name in ("_http._tcp.web", "_8080._tcp.WEB.shop", "_HTTP._tcp.front"):
        assert places(ask(names, name)) == [("Web.shop.", 8080)]
    assert places(ask(names, "_53._udp.web")) == [("Web.shop.", 53)]
    extra = {(str(item.rname), str(item.rdata)) for item in ask(names, "_http._tcp.web").ar}
    assert extra == {("Web.shop.", "10.0.1.100"), ("Web.shop.", "fd00::100")}


def test_ports_of_tasks_and_of_dnsrr_services_lead_to_every_ready_task():
    tasks = [task(5), task(6), task(7, ready=False)]
    every = [("Web.5.id.shop.", 8080), ("Web.6.id.shop.", 8080)]
    assert places(ask(zone.build_network_zone("shop", tasks, [WEB]), "_http._tcp.tasks.web")) == every
    assert places(ask(zone.build_network_zone("shop", tasks, [ROUND]), "_8080._tcp.web")) == every


def test_the_name_in_a_record_resolves():
    names = zone.build_network_zone("shop", [task(5)], [ROUND])
    target = str(ask(names, "_http._tcp.web").rr[0].rdata.target).rstrip(".").lower()
    assert Zone((names,)).find(target.encode(), wire.A) == zone.ZoneAnswer((socket.inet_aton("10.0.1.5"),))


def test_a_port_that_a_known_service_does_not_have_is_empty_and_not_forwarded():
    names = zone.build_network_zone("shop", [task(5)], [WEB])
    for name in ("_80._tcp.web", "_http._udp.web", "_53._tcp.web"):
        assert places(ask(names, name)) == []
    assert Zone((names,)).find(b"_http._tcp.example.com", wire.SRV) is None
    assert Zone((names,)).find(b"_http._quic.web", wire.SRV) is None
    assert Zone((names,)).find(b"_http", wire.SRV) is None
    assert Zone((names,)).find(b"_http._tcp.web", wire.A) == zone.ZoneAnswer()


def test_ports_of_containers_on_a_network_of_the_host():
    names = zone.build_local_zone("Home", [LocalMember(("Db", "data"), ("10.1.0.2",), (("tcp", 5432),))])
    for name in ("_5432._tcp.db", "_5432._tcp.data.home"):
        assert places(ask(names, name)) == [("Db.Home.", 5432)]
    linked = zone.with_links(names, [("alias", "db")])
    assert places(ask(linked, "_5432._tcp.alias")) == [("Db.Home.", 5432)]


def test_records_that_do_not_fit_are_cut_with_the_bit_and_addresses_without():
    found = tuple(ServiceTarget(f"web.{i}.shop".encode(), (socket.inet_aton("10.0.1.5"),), 80) for i in range(100))
    packet = dnslib.DNSRecord.question("_http._tcp.web", "SRV").pack()
    question = wire.read_question(packet)
    cut = dnslib.DNSRecord.parse(packet[:2] + wire.srv_reply(question, found, 512))
    assert cut.header.tc == 1
    assert 10 < len(cut.rr) < 20
    without = dnslib.DNSRecord.parse(packet[:2] + wire.srv_reply(question, found[:12], 512))
    assert (without.header.tc, len(without.rr)) == (0, 12)
    assert len(without.ar) < 12


def test_a_name_that_dns_cannot_carry_gives_no_broken_record():
    """Names of containers may be longer than a label of DNS."""
    packet = dnslib.DNSRecord.question("5.1.0.10.in-addr.arpa", "PTR").pack()
    question = wire.read_question(packet)
    for name in (b"a" * 64 + b".net", b"a..b", b".".join([b"a" * 60] * 5), b"x" * 300):
        for reply in (wire.ptr_reply(question, name), wire.srv_reply(question, (ServiceTarget(name, (), 1),), 512)):
            assert dnslib.DNSRecord.parse(packet[:2] + reply).rr == []


def test_an_empty_answer_says_for_how_long_it_holds():
    packet = dnslib.DNSRecord.question("web", "AAAA").pack()
    found = dnslib.DNSRecord.parse(packet[:2] + wire.address_reply(wire.read_question(packet), (), 512))
    (soa,) = found.auth
    assert (str(soa.rname), soa.ttl, soa.rdata.times[-1]) == ("web.", wire.TTL_SECONDS, wire.TTL_SECONDS)
    assert found.rr == []


def test_the_wish_for_signatures_is_repeated_and_a_later_edns_is_told_the_version():
    record = dnslib.DNSRecord.question("web")
    record.add_ar(dnslib.EDNS0(flags="do", udp_len=1232))
    packet = record.pack()
    reply = dnslib.DNSRecord.parse(packet[:2] + wire.address_reply(wire.read_question(packet), (), 1232))
    assert reply.ar[0].edns_do == 1
    later = dnslib.DNSRecord.question("web")
    later.add_ar(dnslib.EDNS0(version=1, udp_len=1232))
    question = wire.read_question(later.pack())
    assert question.edns_version == 1
    answer = wire.bad_version_reply(question)
    assert struct.unpack_from("!BHHBB", answer, len(answer) - 11) == (0, wire.OPT, wire.MAX_UDP_BYTES, 1, 0)
