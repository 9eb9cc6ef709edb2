"""Forward chains in the output of `nft list chains`."""

import json

from agent.network.firewall import ForwardChain, dropping_chains, ends_with_drop, warning_text

LISTING = """
table ip filter {
	chain INPUT {
		type filter hook input priority filter; policy drop;
	}
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
	}
	chain DOCKER-USER {
	}
}
table inet own {
	chain through {
		type filter hook forward priority 0; policy drop;
	}
	chain open {
		type filter hook forward priority 10; policy accept;
	}
}
table ip6 filter {
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
	}
}
"""


def test_forward_chains_with_a_drop_policy_are_found_in_every_family() -> None:
    assert dropping_chains(LISTING) == (
        ForwardChain("ip", "filter", "FORWARD"),
        ForwardChain("inet", "own", "through"),
        ForwardChain("ip6", "filter", "FORWARD"),
    )
    assert dropping_chains("") == ()


def test_the_warning_uses_the_commands_of_the_tool_that_created_the_chain() -> None:
    docker, own, docker6 = (warning_text("covey0", chain) for chain in dropping_chains(LISTING))
    assert "iptables -I FORWARD -i covey0 -j ACCEPT; iptables -I FORWARD -o covey0" in docker
    assert 'nft insert rule inet own through iifname { "covey0", "br-*", "cv*" } accept' in own
    assert "iptables -I FORWARD -i br-+ -j ACCEPT" in docker
    assert docker.endswith("; iptables -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT")
    assert own.endswith("; nft insert rule inet own through ct status dnat accept")
    assert docker6.endswith("; ip6tables -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT")


def test_ufw_and_firewalld_are_told_by_their_chains_and_have_commands_of_their_own() -> None:
    ufw = LISTING.replace("chain DOCKER-USER {", "chain ufw-before-forward {")
    chains = dropping_chains(ufw)
    assert [chain.owner for chain in chains] == ["ufw", "", ""]
    assert warning_text("covey0", chains[0]).endswith("; ufw route allow in on cv+; ufw route allow out on cv+")
    firewalld = ForwardChain("inet", "firewalld", "filter_FORWARD", owner="firewalld")
    assert "firewalld's firewall table inet firewalld" in warning_text("covey0", firewalld)
    assert "--zone=trusted --add-interface=covey0; " in warning_text("covey0", firewalld)
    assert warning_text("covey0", firewalld).endswith("; firewall-cmd --reload")


def test_a_last_rule_that_drops_everything_counts_as_a_policy() -> None:
    def listing(*expressions: object) -> bytes:
        return json.dumps({"nftables": [{"rule": {"expr": expression}} for expression in expressions]}).encode()

    accept, match = [{"accept": None}], {"match": {}}
    assert ends_with_drop(listing(accept, [{"counter": {}}, {"reject": {"type": "icmpx"}}]))
    assert ends_with_drop(listing([{"drop": None}]))
    assert not ends_with_drop(listing([{"drop": None}], accept))
    assert not ends_with_drop(listing([match, {"drop": None}]))
    assert not ends_with_drop(listing())
