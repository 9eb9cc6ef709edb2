"""Plans of our accept rules in foreign forward chains."""

import json

from agent.network.firewall import ForwardChain
from agent.network.managed_firewall import comment, nft_rules, plan_legacy, plan_nft

CHAIN = ForwardChain("inet", "own", "through")


def listing(*comments: str) -> bytes:
    rules = [{"rule": {"handle": number, "comment": text, "expr": []}} for number, text in enumerate(comments, start=7)]
    return json.dumps({"nftables": [{"chain": {}}, *rules]}).encode()


def test_rules_are_inserted_in_front_once_and_removed_by_their_comment() -> None:
    ours, count = comment("covey0"), len(nft_rules("covey0"))
    plan = plan_nft(CHAIN, listing("other"), "covey0", wanted=True)
    assert len(plan) == count
    assert plan[-1].startswith('insert rule inet own through iifname "covey0" counter accept')
    assert plan_nft(CHAIN, listing(*[ours] * count, "other"), "covey0", wanted=True) == ()
    assert plan_nft(CHAIN, listing("other", ours), "covey0", wanted=False) == ("delete rule inet own through handle 8",)
    assert plan_nft(CHAIN, listing("other", "covey1: containers"), "covey0", wanted=False) == ()


def test_rules_that_are_not_in_front_or_not_complete_are_made_again() -> None:
    ours, count = comment("covey0"), len(nft_rules("covey0"))
    behind = plan_nft(CHAIN, listing("other", *[ours] * count), "covey0", wanted=True)
    assert behind[0] == "delete rule inet own through handle 8"
    assert len(behind) == 2 * count
    assert len(plan_nft(CHAIN, listing(ours, "other"), "covey0", wanted=True)) == count + 1


def test_the_chain_of_iptables_legacy_is_made_again_unless_it_is_first_and_complete() -> None:
    empty = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -i eth0 -j ACCEPT\nCOMMIT\n"
    made = plan_legacy(empty, "covey0", wanted=True)
    rules = [line for line in made.splitlines() if line.startswith("-A covey0-forward ")]
    jump = '-A FORWARD -m comment --comment "covey0: containers" -j covey0-forward'
    complete = "\n".join([":FORWARD DROP [0:0]", ":covey0-forward - [0:0]", jump, *rules, "-A FORWARD -j LOG"])
    assert plan_legacy(complete, "covey0", wanted=True) == ""
    assert "-D FORWARD -m comment" in plan_legacy(complete.replace(rules[0], ""), "covey0", wanted=True)
    assert "-X covey0-forward" in plan_legacy(complete, "covey0", wanted=False)
    assert plan_legacy(empty, "covey0", wanted=False) == ""
