"""Which differences are packed as messages of nf_tables, and which are left to libnftables."""

from __future__ import annotations

import pytest

from agent.network.kernel.nft_messages import pack
from agent.network.namespace_state import NftChain, NftSet
from agent.network.plan.diff import Difference, DifferenceKind

TABLE = "inet covey-vips"
RULE = "dnat ip to numgen inc mod 2 map { 0 : 10.0.0.5, 1 : 10.0.0.6 }"


def chain(*rules: str, hook: str = "", table: str = TABLE, found: NftChain | None = None) -> Difference:
    return Difference("n", DifferenceKind.MISSING, ("chain", table, "c"), NftChain(hook=hook, rules=rules), found)


def element(key: str, value: str, found: str | None = None) -> Difference:
    return Difference("n", DifferenceKind.MISSING, ("element", TABLE, "vips4", key), value, found)


@pytest.mark.parametrize("one", [chain(RULE), chain(RULE, found=NftChain()), element("10.0.0.2", "jump c")])
def test_vips_are_packed(one: Difference) -> None:
    assert pack([one])
    assert pack([one, chain(RULE)])


@pytest.mark.parametrize(
    "one",
    [
        chain(RULE, RULE),
        chain(f"meta l4proto tcp {RULE}"),
        chain("dnat ip to 10.0.0.5"),
        chain(RULE.replace("mod 2", "mod 3")),
        chain(RULE.replace("1 :", "2 :")),
        chain(RULE.replace("10.0.0.6", "fd00::6")),
        chain(RULE, hook="type nat hook prerouting priority -100;"),
        chain(RULE, found=NftChain(hook="type nat hook prerouting priority -100;")),
        chain(RULE, table="ip covey-vips"),
        element("tcp . 80", "jump c"),
        element("10.0.0.2", "accept"),
        element("10.0.0.2", "10.0.0.3"),
        element("10.0.0.2", "jump c", found="jump d"),
        Difference("n", DifferenceKind.STRAY, ("chain", TABLE, "c"), None, NftChain()),
        Difference("n", DifferenceKind.MISSING, ("set", TABLE, "s"), NftSet(head="type ipv4_addr;")),
        Difference("n", DifferenceKind.MISSING, ("table", TABLE), ""),
    ],
)
def test_everything_else_is_left_to_libnftables_with_all_beside_it(one: Difference) -> None:
    assert pack([chain(RULE), one]) is None
