"""nft commands that carry out differences: their order, and what is loaded again together."""

from __future__ import annotations

import msgspec

from agent.network.kernel.nft_commands import commands, with_dependents
from agent.network.namespace_state import HOST, NamespaceState, NftChain, NftSet, NftTable
from agent.network.plan.diff import difference
from agent.network.plan.items import flatten

T = "inet t"


def state(chains: dict[str, NftChain] | None = None, **sets: NftSet) -> NamespaceState:
    return NamespaceState(tables={T: NftTable(chains=chains or {}, sets=sets)})


def lines(wanted: NamespaceState, found: NamespaceState, *, grouped: bool = True) -> list[str]:
    full = with_dependents(difference(HOST, wanted, found), flatten(wanted))
    return [one.line for one in commands(full, grouped=grouped)]


BASE = NftChain(hook="type nat hook output priority 0;", rules=("ip daddr @s accept",))
JUMP = NftSet(head="type mark : verdict;", is_map=True, elements={"1": "jump sub"})
PORTS = NftSet(head="type inet_service;", elements={"80": "", "81": ""})


def test_a_new_table_is_made_before_what_it_holds_and_elements_after_the_chains_that_they_name():
    assert lines(
        state({"sub": NftChain(rules=("accept", "drop")), "out": BASE}, ways=JUMP, s=PORTS), NamespaceState()
    ) == [
        "add table inet t",
        "add chain inet t out { type nat hook output priority 0; }",
        "add chain inet t sub",
        "add set inet t s { type inet_service; }",
        "add map inet t ways { type mark : verdict; }",
        "add element inet t s { 80, 81 }",
        "add element inet t ways { 1 : jump sub }",
        "add rule inet t out ip daddr @s accept",
        "add rule inet t sub accept",
        "add rule inet t sub drop",
    ]


def test_a_table_that_nobody_wants_goes_at_once():
    assert lines(NamespaceState(), state({"out": BASE}, s=PORTS)) == ["delete table inet t"]


def test_an_element_with_another_value_is_replaced_in_the_same_transaction():
    def ports(value: str) -> NamespaceState:
        return state(m=NftSet(head="type mark : mark;", is_map=True, elements={"1": value, "2": "7"}))

    assert lines(ports("5"), ports("6")) == ["delete element inet t m { 1 }", "add element inet t m { 1 : 5 }"]


def test_a_chain_with_other_rules_is_flushed_and_one_with_another_head_is_made_again():
    other = NftChain(hook=BASE.hook, rules=("accept",))
    assert lines(state({"out": other}), state({"out": BASE})) == [
        "flush chain inet t out",
        "add chain inet t out { type nat hook output priority 0; }",
        "add rule inet t out accept",
    ]
    moved = NftChain(hook="type nat hook output priority 5;", rules=BASE.rules)
    assert lines(state({"out": moved}), state({"out": BASE}))[:3] == [
        "flush chain inet t out",
        "delete chain inet t out",
        "add chain inet t out { type nat hook output priority 5; }",
    ]


def test_a_set_with_another_head_is_made_again_with_its_elements_and_the_chains_of_its_table():
    wider = NftSet(head="type inet_service; size 9;", elements=PORTS.elements)
    assert lines(state({"out": BASE}, s=wider), state({"out": BASE}, s=PORTS)) == [
        "flush chain inet t out",
        "delete set inet t s",
        "add chain inet t out { type nat hook output priority 0; }",
        "add set inet t s { type inet_service; size 9; }",
        "add element inet t s { 80, 81 }",
        "add rule inet t out ip daddr @s accept",
    ]


def test_rules_go_before_the_sets_that_they_name_and_sets_before_the_chains_that_their_elements_name():
    kept = NftSet(head="type mark : verdict;", is_map=True)
    gone = lines(
        state(kept=kept),
        state({"sub": NftChain()}, ways=JUMP, kept=msgspec.structs.replace(kept, elements={"2": "jump sub"})),
    )
    assert gone == [
        "delete element inet t kept { 2 }",
        "flush chain inet t sub",
        "delete map inet t ways",
        "delete chain inet t sub",
    ]


def test_many_elements_share_lines_unless_each_is_to_be_told_from_the_others():
    many = state(s=NftSet(head="type mark;", elements={str(number): "" for number in range(10000)}))
    assert len(lines(many, state(s=NftSet(head="type mark;")))) == 3
    assert len(lines(many, state(s=NftSet(head="type mark;")), grouped=False)) == 10000
