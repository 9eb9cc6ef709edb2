"""Late replies of datagrams: the elements that a moved flow leaves, and the tables that hold them."""

from agent.network.kernel.nft_listing import parse_table
from agent.network.plan import late_replies, vips
from agent.network.plan.late_replies import MovedFlow


def test_a_moved_flow_leaves_its_address_and_its_port():
    flow = MovedFlow(("10.0.0.5", 53), ("192.0.2.1", 4000), ("192.168.77.1", 8053))
    assert late_replies.commands("inet t", [flow]) == [
        "add element inet t late4-port { 10.0.0.5 . 53 . 192.0.2.1 . 4000 : 8053 }",
        "add element inet t late4-address { 10.0.0.5 . 8053 . 192.0.2.1 . 4000 : 192.168.77.1 }",
    ]


def test_flows_of_both_families_are_kept_up_to_a_bound():
    flow = MovedFlow(("fd00::5", 53), ("fd00::1", 4000), ("fd00::100", 53))
    lines = late_replies.commands("inet t", [flow] * 10_000)
    assert len(lines) == 2 * late_replies.MAX_FLOWS
    assert all(" late6-" in line for line in lines)


def test_the_tables_of_vips_translate_late_replies():
    (state,) = vips.base("n", ipv6=True).values()
    table = state.tables[vips.TABLE]
    assert late_replies.sets().items() <= table.sets.items()
    assert late_replies.chains().items() <= table.chains.items()


def test_elements_that_the_kernel_forgets_by_itself_are_no_part_of_the_state():
    listing = b"""{"nftables": [{"map": {"family": "inet", "name": "late4-port", "table": "t", "type": "ipv4_addr", "handle": 2,
        "map": "inet_service", "flags": ["timeout"], "elem": [[{"elem": {"val": "10.0.0.2", "timeout": 5, "expires": 4}}, 99]]}}]}"""
    assert parse_table(listing).sets["late4-port"].elements == {}
