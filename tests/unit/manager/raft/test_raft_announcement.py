"""Where a manager announces its address after it has moved."""

from manager.raft.backend import announcement_targets
from manager.store import Member


def member(number: int, addr: str) -> Member:
    return Member(raft_id=number, node_id=f"node-{number}", addr=addr)


MEMBERS = (member(1, "old-1:1"), member(2, "old-2:1"), member(3, "old-3:1"))


def test_addresses_that_were_given_go_before_those_of_a_membership_that_has_moved() -> None:
    assert announcement_targets(MEMBERS, 3, 0, ("new-1:1",), "new-3:1") == ["new-1:1", "old-1:1", "old-2:1"]


def test_the_leader_goes_before_the_other_members_and_each_address_is_named_once() -> None:
    assert announcement_targets(MEMBERS, 3, 2, (), "new-3:1") == ["old-2:1", "old-1:1"]
    assert announcement_targets(MEMBERS, 3, 2, ("old-2:1", "new-3:1"), "new-3:1") == ["old-2:1", "old-1:1"]
