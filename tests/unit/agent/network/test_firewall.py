"""Forward chains in the output of `nft list chains`."""

from agent.network.firewall import ForwardChain, dropping_chains, warning_text

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


def test_only_ipv4_forward_chains_with_a_drop_policy_are_found() -> None:
    assert dropping_chains(LISTING) == (ForwardChain("ip", "filter", "FORWARD"), ForwardChain("inet", "own", "through"))
    assert dropping_chains("") == ()


def test_the_warning_uses_the_commands_of_the_tool_that_created_the_chain() -> None:
    docker, own = (warning_text("covey0", chain) for chain in dropping_chains(LISTING))
    assert "iptables -I FORWARD -i covey0 -j ACCEPT; iptables -I FORWARD -o covey0" in docker
    assert 'nft insert rule inet own through iifname { "covey0", "br-*", "cv*" } accept' in own
    assert "iptables -I FORWARD -i br-+ -j ACCEPT" in docker
    assert docker.endswith("; iptables -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT")
    assert own.endswith("; nft insert rule inet own through ct status dnat accept")
