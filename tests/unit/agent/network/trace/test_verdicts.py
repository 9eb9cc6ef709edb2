"""Verdicts of nftables' rules on a packet."""

from __future__ import annotations

from typing import Any

import pytest

from agent.network.trace.reading import RuleChain
from agent.network.trace.verdicts import Packet, find_drop

PACKET = Packet(
    source="10.0.1.5", destination="10.0.1.6", protocol="tcp", port=80, input_device="cv1", output_device="br-x", translated=True
)  # fmt: skip
DROP: dict[str, Any] = {"drop": None}
ACCEPT: dict[str, Any] = {"accept": None}


def match(left: dict[str, Any], right: object, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def payload(protocol: str, field: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": field}}


def chain(*rules: list[dict[str, Any]], policy: str = "accept", **fields: Any) -> RuleChain:
    head: dict[str, Any] = {"table": "inet mine", "name": "in", "kind": "filter", "hook": "forward", "policy": policy}
    return RuleChain(**{**head, **fields}, rules=rules)


@pytest.mark.parametrize(
    ("statement", "applies"),
    [
        (match(payload("ip", "daddr"), "10.0.1.6"), True),
        (match(payload("ip", "daddr"), "10.0.1.7"), False),
        (match(payload("ip", "daddr"), {"prefix": {"addr": "10.0.0.0", "len": 16}}), True),
        (match(payload("ip", "saddr"), {"set": ["10.0.1.5", "10.0.1.9"]}), True),
        (match(payload("ip", "saddr"), "10.0.1.5", "!="), False),
        (match(payload("ip6", "daddr"), "fd00::1"), False),
        (match(payload("tcp", "dport"), 80), True),
        (match(payload("tcp", "dport"), {"range": [1, 100]}), True),
        (match(payload("udp", "dport"), 80), False),
        (match(payload("th", "dport"), {"set": [81, 82]}), False),
        (match({"meta": {"key": "iifname"}}, "cv*"), True),
        (match({"meta": {"key": "oifname"}}, "br-y"), False),
        (match({"meta": {"key": "l4proto"}}, "tcp"), True),
        (match({"ct": {"key": "state"}}, ["established", "related"], "in"), False),
        (match({"ct": {"key": "state"}}, "new", "in"), True),
        (match({"ct": {"key": "status"}}, "dnat", "in"), True),
    ],
)
def test_a_match_decides_whether_a_drop_applies(statement: dict[str, Any], applies: bool) -> None:
    found = find_drop([chain([statement, DROP])], "forward", PACKET)
    assert (found is not None) is applies


@pytest.mark.parametrize(
    "unknown",
    [
        match(payload("ip", "daddr"), "@blocked"),
        match({"meta": {"key": "mark"}}, 7),
        {"xt": {"type": "match", "name": "recent"}},
        {"limit": {"rate": 1, "per": "second"}},
    ],
)
def test_in_doubt_a_packet_passes(unknown: dict[str, Any]) -> None:
    assert find_drop([chain([unknown, DROP])], "forward", PACKET) is None
    assert find_drop([chain([unknown, ACCEPT], [DROP])], "forward", PACKET) is None


def test_policy_order_and_jumps_are_obeyed() -> None:
    assert find_drop([chain(policy="drop")], "forward", PACKET) is not None
    assert find_drop([chain(policy="drop")], "input", PACKET) is None
    assert find_drop([chain([ACCEPT], policy="drop")], "forward", PACKET) is None
    assert find_drop([chain(policy="drop", table="ip6 mine")], "forward", PACKET) is None
    jump = chain([{"jump": {"target": "more"}}, ACCEPT])
    more = chain([match(payload("tcp", "dport"), 80), {"counter": {}}, DROP], name="more", hook="")
    found = find_drop([jump, more], "forward", PACKET)
    assert found is not None
    assert (found.place, found.rule) == ("inet mine more", "tcp dport 80 drop")
    accepted_first = chain([ACCEPT], table="ip early", priority=-10)
    assert find_drop([accepted_first, chain([DROP])], "forward", PACKET) is not None


def test_a_chain_that_a_map_leads_to_is_entered() -> None:
    of_device = chain([DROP], name="to-br-x", hook="")
    assert find_drop([of_device], "forward", PACKET) is None
    assert find_drop([of_device], "forward", PACKET, ["inet mine to-br-x"]) is not None


def test_a_loop_of_jumps_ends() -> None:
    one = chain([{"jump": {"target": "in"}}])
    assert find_drop([one], "forward", PACKET) is None
