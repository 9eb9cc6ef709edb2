"""The JSON listing of an nftables table, parsed."""

from __future__ import annotations

import json

import pytest

from agent.network.kernel.nft_listing import parse_table, parse_tables


def listing(*entries: dict) -> bytes:
    return json.dumps({"nftables": [{"metainfo": {}}, {"table": {"family": "inet", "name": "t"}}, *entries]}).encode()


def chain(*rules: dict, **head: object) -> bytes:
    return listing(
        {"chain": {"name": "c", "table": "t", "handle": 1, **head}}, *({"rule": {"chain": "c", **one}} for one in rules)
    )


def elements(found: list, kind: str = "set", **head: object) -> dict[str, str]:
    entry = {kind: {"name": "s", "table": "t", "handle": 1, "elem": found, **head}}
    return dict(parse_table(listing(entry)).sets["s"].elements)


def test_tables_are_named_by_family_and_name():
    text = json.dumps(
        {
            "nftables": [
                {"metainfo": {}},
                {"table": {"family": "inet", "name": "a"}},
                {"table": {"family": "ip", "name": "b"}},
            ]
        }
    )
    assert parse_tables(text.encode()) == {"inet a", "ip b"}


@pytest.mark.parametrize(
    ("found", "types", "expected"),
    [
        (["10.0.0.1"], "ipv4_addr", {"10.0.0.1": ""}),
        (["fd00::1"], "ipv6_addr", {"fd00::1": ""}),
        (["eth0"], "ifname", {'"eth0"': ""}),
        ([{"concat": ["tcp", 80]}], ["inet_proto", "inet_service"], {"tcp . 80": ""}),
        ([{"concat": ["eth0", 80]}], ["ifname", "inet_service"], {'"eth0" . 80': ""}),
        ([{"prefix": {"addr": "10.0.0.0", "len": 8}}], "ipv4_addr", {"10.0.0.0/8": ""}),
        ([{"range": ["10.0.0.1", "10.0.0.9"]}], "ipv4_addr", {"10.0.0.1-10.0.0.9": ""}),
        ([{"elem": {"val": "10.0.0.1", "timeout": 30, "expires": 3}}], "ipv4_addr", {"10.0.0.1": ""}),
    ],
)
def test_keys_are_in_normal_form(found, types, expected):
    assert elements(found, type=types) == expected


@pytest.mark.parametrize(
    ("value", "types", "expected"),
    [
        ("10.0.0.1", "ipv4_addr", "10.0.0.1"),
        ({"concat": ["10.0.0.1", 80]}, "ipv4_addr . inet_service", "10.0.0.1 . 80"),
        ({"jump": {"target": "c"}}, "verdict", "jump c"),
        ({"goto": {"target": "c"}}, "verdict", "goto c"),
        ({"drop": None}, "verdict", "drop"),
        (16, "mark", "16"),
    ],
)
def test_values_are_in_normal_form(value, types, expected):
    assert elements([["80", value]], "map", type="inet_service", map=types) == {"80": expected}


def test_counters_and_handles_do_not_change_a_digest():
    one = chain({"handle": 1, "expr": [{"counter": {"packets": 1, "bytes": 2}}, {"accept": None}]})
    two = chain({"handle": 9, "expr": [{"counter": {"packets": 7, "bytes": 8}}, {"accept": None}]})
    assert parse_table(one) == parse_table(two)


@pytest.mark.parametrize(
    "other",
    [
        chain({"expr": [{"drop": None}]}),
        chain({"expr": [{"accept": None}]}, {"expr": [{"accept": None}]}),
        chain({"expr": [{"accept": None}], "comment": "x"}),
        chain(),
        chain({"expr": [{"accept": None}]}, type="nat", hook="output", prio=1, policy="accept"),
    ],
)
def test_another_rule_gives_another_digest(other):
    assert parse_table(other).chains["c"].digest != parse_table(chain({"expr": [{"accept": None}]})).chains["c"].digest


def test_a_base_chain_has_its_head_in_the_words_of_nft():
    found = parse_table(chain(type="nat", hook="prerouting", prio=-100, policy="accept")).chains["c"]
    assert found.hook == "type nat hook prerouting priority -100; policy accept;"


def test_elements_do_not_change_the_digest_of_a_set_but_its_type_does():
    def digest(**head: object) -> bytes:
        return parse_table(listing({"set": {"name": "s", **head}})).sets["s"].digest

    assert digest(type="mark", elem=[1]) == digest(type="mark")
    assert digest(type="mark") != digest(type="ipv4_addr")
    assert digest(type="mark") != digest(type="mark", size=3)
