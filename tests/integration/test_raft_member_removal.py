"""Member removal: refused if the remaining managers have no quorum, also with stalled disks and concurrent removals."""

import asyncio
from pathlib import Path

import pytest

from tests.support.raft_processes import CommandError, RaftGroup, RaftProcess, raft_group, until

pytestmark = pytest.mark.timeout(120)


async def reachable(leader: RaftProcess, member: RaftProcess) -> bool:
    members = (await leader("status"))["members"]
    return next(one["reachable"] for one in members if one["node_id"] == member.node_id)


async def is_unreachable(leader: RaftProcess, member: RaftProcess) -> None:
    async def check() -> bool:
        return not await reachable(leader, member)

    await until(check, f"{member.node_id} to be unreachable")


async def refused(leader: RaftProcess, leaving: RaftProcess, numbers: str) -> None:
    with pytest.raises(CommandError, match=numbers) as error:
        await leader("remove", node_ids=[leaving.node_id])
    assert error.value.kind == "ConflictError"


async def test_a_member_with_a_stalled_disk_counts_as_unreachable(tmp_path: Path) -> None:
    """1. The disk of one of three members stalls; its connection stays open. 2. When a write waits for that disk, the member stops answering
    and counts as unreachable, even after reconnects. 3. The removal of the other member is refused with the numbers, because the rest
    would have no quorum. 4. The disk recovers: the same removal succeeds.
    """
    async with raft_group(tmp_path) as group:
        await group.add_three()
        leader = await group.leader()
        hung, other = await group.followers()
        hung.stall_disk()
        await leader("create", name="a")
        await is_unreachable(leader, hung)
        for _ in range(40):
            assert not await reachable(leader, hung), "it counts as reachable because of a new connection"
            assert await reachable(leader, other)
            await asyncio.sleep(0.1)  # nothing may change during this time
        await refused(leader, other, "leave 2 managers of which 1 are reachable, but 2 are needed")
        await leader("create", name="b")
        hung.resume_disk()
        await group.wait_connected(3)
        await leader("remove", node_ids=[other.node_id])
        await leader("create", name="c")


async def test_an_unnoticed_stalled_disk_is_detected_before_a_removal(tmp_path: Path) -> None:
    """While nothing is written, a member with a stalled disk answers heartbeats. A removal checks the disk."""
    async with raft_group(tmp_path) as group:
        await group.add_three()
        leader = await group.leader()
        hung, other = await group.followers()
        hung.stall_disk()
        assert await reachable(leader, hung)
        await refused(leader, other, "leave 2 managers of which 1 are reachable, but 2 are needed")
        await leader("create", name="after")


async def test_a_member_that_lost_its_state_cannot_rejoin_while_the_quorum_depends_on_it(tmp_path: Path) -> None:
    """Its old membership ends in the same change that adds it; without it one of two would be reachable."""
    async with raft_group(tmp_path) as group:
        await group.add_three()
        leader = await group.leader()
        hung, other = await group.followers()
        hung.stall_disk()
        with pytest.raises(CommandError, match="leave 2 managers of which 1 are reachable, but 2 are needed"):
            await other("rejoin", manager=leader.addr)
        await leader("create", name="after")


async def test_the_second_of_two_concurrent_removals_counts_without_the_first_member(tmp_path: Path) -> None:
    """One of four managers is dead. Either of two others may be removed; both would leave one reachable manager of two."""
    async with raft_group(tmp_path) as group:
        leader, one, two, dead = await four(group)
        await dead.kill()
        await is_unreachable(leader, dead)
        answers = await asyncio.gather(
            *[leader("remove", node_ids=[member.node_id]) for member in (one, two)], return_exceptions=True
        )
        assert answers.count(None) == 1, answers
        error = next(answer for answer in answers if answer is not None)
        assert isinstance(error, CommandError)
        assert "would leave 2 managers of which 1 are reachable, but 2 are needed" in error.message
        await leader("create", name="after")


async def four(group: RaftGroup) -> tuple[RaftProcess, RaftProcess, RaftProcess, RaftProcess]:
    for node_id in ("alpha", "beta", "gamma", "delta"):
        await group.add(node_id)
    await group.wait_voters(4)
    one, two, three = await group.followers()
    return await group.leader(), one, two, three


async def test_a_busy_member_never_counts_as_unreachable(tmp_path: Path) -> None:
    async with raft_group(tmp_path, snapshot_interval=500) as group:
        await group.add_three()
        leader = await group.leader()
        load = asyncio.create_task(leader("load", clients=20, writes=3000, size=2000, prefix="x"))
        looks = 0
        while not load.done():
            assert all([await reachable(leader, member) for member in group.members.values()])
            looks += 1
        await load
        assert looks > 20
        assert all([await reachable(leader, member) for member in group.members.values()])
