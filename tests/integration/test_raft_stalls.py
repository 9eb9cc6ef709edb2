"""Managers with a stalled disk or a stopped process: loss of leadership, recovery, snapshots under load."""

import asyncio
from pathlib import Path

import pytest

from tests.support.raft_processes import CommandError, RaftGroup, RaftProcess, raft_group, status_of, until

pytestmark = pytest.mark.timeout(120)


async def leads(member: RaftProcess) -> bool:
    return bool((await status_of(member)).get("leader"))


async def another_leads(group: RaftGroup, old: RaftProcess) -> RaftProcess:
    async def find() -> RaftProcess | None:
        for member in group.members.values():
            if member is not old and member.is_running and await leads(member):
                return member
        return None

    return await until(find, "another leader")


async def follows(member: RaftProcess, leader: RaftProcess) -> None:
    async def check() -> bool:
        status = await status_of(member)
        return status.get("leader") is False and status["leader_addr"] == leader.addr

    await until(check, f"{member.node_id} behind {leader.node_id}")


async def test_a_leader_with_a_stalled_disk_stops_leading_and_follows_when_the_disk_recovers(
    tmp_path: Path,
) -> None:
    """1. The leader's flushes do not return. 2. It publishes that it does not lead, while it still leads in the core, and reports the
    write in progress as unknown. 3. Another one is elected. 4. The disk recovers: the old leader follows and has everything.
    """
    async with raft_group(tmp_path) as group:
        await group.add_three()
        old = await group.leader()
        await old("create", name="before")
        old.stall_disk()
        with pytest.raises(CommandError) as lost:
            await old("create", name="during", timeout_seconds=7)
        assert lost.value.kind == "OutcomeUnknownError"
        assert not await leads(old)
        assert (await old("leaderships"))[-1][1:] == [False, "LEADER"]
        with pytest.raises(CommandError) as refused:
            await old("create", name="refused")
        assert refused.value.kind == "NotLeaderError"
        new = await another_leads(group, old)
        await new("create", name="after")
        old.resume_disk()
        await follows(old, new)
        assert {"before", "after"} <= set(await old("names", fresh=True))
        assert "refused" not in await old("names", fresh=True)


async def test_a_paused_leader_does_not_act_as_leader_before_a_majority_confirms_it(tmp_path: Path) -> None:
    """1. All members are paused. 2. Only the leader resumes, after so long that another one might lead. It publishes at once that it does not
    lead, before it notices that no majority answers. 3. The others resume: there is a leader again.
    """
    async with raft_group(tmp_path) as group:
        await group.add_three()
        old = await group.leader()
        followers = await group.followers()
        seen = len(await old("leaderships"))
        for member in (old, *followers):
            member.pause()
        await asyncio.sleep(2)  # nothing may happen during this time
        old.resume()

        async def gave_up() -> bool:
            return not await leads(old)

        await until(gave_up, "the paused leader to stop leading")
        assert (await old("leaderships"))[seen][1:] == [False, "LEADER"]
        for member in followers:
            member.resume()
        leader = await group.leader()
        await leader("create", name="after")


async def test_a_paused_leader_continues_in_its_term_if_the_others_still_follow(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        old = await group.add("alpha")
        for node_id in ("beta", "gamma"):
            await group.add(node_id, tuning={"election_tick": 100})
        await group.wait_voters(3)
        term = (await old("status"))["term"]
        seen = len(await old("leaderships"))
        old.pause()
        await asyncio.sleep(2)  # nothing may happen during this time
        old.resume()

        async def confirmed() -> bool:
            return [change[1] for change in (await old("leaderships"))[seen:]] == [False, True]

        await until(confirmed, "confirmation by a majority")
        await old("create", name="after")
        assert (await old("status"))["term"] == term


async def test_a_follower_answers_while_it_reads_a_large_snapshot(tmp_path: Path) -> None:
    """1. One of three is down; another one needs a snapshot that takes 4 s to decode, longer than a leader stays without a majority.
    2. The leader still gets its heartbeat replies and keeps its term. 3. After the snapshot is restored, writes succeed.
    """
    async with raft_group(tmp_path, snapshot_interval=100, log_entries_for_slow_followers=5) as group:
        await group.add_three()
        leader = await group.leader()
        slow, down = await group.followers()
        await slow.kill()
        await leader("load", clients=10, writes=350, size=64, prefix="x")
        last = (await leader("status"))["last_index"]

        async def compacted() -> bool:
            return (await leader("status"))["first_index"] > last - 150

        await until(compacted, "compaction")
        await down.kill()
        slow.config["decode_seconds"] = 4
        await slow.start()
        await group.leader()
        term = (await leader("status"))["term"]
        assert len(await eventual_names(slow)) == 350
        await leader("create", name="after")
        assert (await leader("status"))["term"] == term, "the leader was deposed"


async def eventual_names(member: RaftProcess) -> list[str]:
    async def caught_up() -> list[str] | None:
        found = await member("names")
        return found if len(found) >= 350 else None

    return await until(caught_up, "the state of the snapshot")


async def test_concurrent_reads_share_one_request(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        await group.add_three()
        for member in (await group.leader(), (await group.followers())[0]):
            single = await member("read", count=50, together=1)
            assert single["questions"] == 50
            shared = await member("read", count=5000, together=500)
            assert shared["questions"] <= 40, "concurrent reads were confirmed one by one"


async def test_members_removed_together_leave_by_one_joint_change(tmp_path: Path) -> None:
    """Two of five managers are removed at once. There are never four in between, of which two could not continue."""
    async with raft_group(tmp_path) as group:
        for node_id in ("alpha", "beta", "gamma", "delta", "epsilon"):
            await group.add(node_id)
        await group.wait_voters(5)
        leader = await group.leader()
        leaving = (await group.followers())[:2]
        before = (await leader("status"))["last_index"]
        await leader("remove", node_ids=[member.node_id for member in leaving])
        # the entry that checks the disks, into the joint configuration, and out of it
        assert (await leader("status"))["last_index"] == before + 3
        assert [await member.wait() for member in leaving] == [3, 3]
        await group.wait_voters(3)
        await leader("create", name="after")


async def test_a_removal_that_includes_the_leader_begins_with_a_transfer(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        await group.add_three()
        old = await group.leader()
        other, staying = await group.followers()
        with pytest.raises(CommandError) as refused:
            await old("remove", node_ids=[old.node_id, other.node_id])
        assert refused.value.kind == "NotLeaderError"
        assert staying.addr in refused.value.message, "leadership was transferred to a member that is removed too"
        await until(lambda: leads(staying), "leadership of the one that stays")  # the old leader may learn of it first
        await staying("remove", node_ids=[old.node_id, other.node_id])
        assert [await member.wait() for member in (old, other)] == [3, 3]
        await staying("create", name="alone")


async def test_leadership_is_transferred_to_one_of_the_named_nodes(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        await group.add_three()
        old = await group.leader()
        _, named = await group.followers()
        await old("transfer", among=[named.node_id])
        assert (await group.leader()) is named
        with pytest.raises(CommandError) as refused:
            await named("transfer", among=[])
        assert refused.value.kind == "UnavailableError"


async def test_a_log_of_few_large_entries_is_compacted_by_its_size(tmp_path: Path) -> None:
    async with raft_group(tmp_path, snapshot_bytes=1 << 20, log_entries_for_slow_followers=5) as group:
        single = await group.add("alpha")
        await group.leader()
        await single("load", clients=1, writes=60, size=100_000, prefix="x")

        async def cut() -> bool:
            return (await single("status"))["first_index"] > 30

        await until(cut, "compaction, though there were far fewer entries than the interval of snapshots")


async def test_a_follower_catches_up_by_a_snapshot_during_writes(tmp_path: Path) -> None:
    """1. A follower lacks more than the log holds. 2. The snapshot takes longer to decode than the interval between snapshots. 3. The
    entries after it are kept for the follower, so it catches up under full load instead of needing each next snapshot.
    """
    async with raft_group(tmp_path, snapshot_interval=100, log_entries_for_slow_followers=5) as group:
        await group.add_three()
        leader = await group.leader()
        slow = (await group.followers())[0]
        await slow.kill()
        await leader("load", clients=10, writes=500, size=64, prefix="x")
        slow.config["decode_seconds"] = 1
        stop = asyncio.Event()

        async def writer(number: int) -> None:
            count = 0
            while not stop.is_set():
                await leader("create", name=f"w{number}-{count}")
                count += 1

        async with asyncio.TaskGroup() as tasks:
            for number in range(8):
                tasks.create_task(writer(number))
            await slow.start()

            async def close_behind() -> bool:
                mine, theirs = await slow("status"), await leader("status")
                return theirs["applied"] - mine["applied"] < 50

            try:
                await until(close_behind, "a follower that keeps up")
            finally:
                stop.set()
        began = (await leader("status"))["last_index"]
        assert began > 600, "too little load"


async def test_a_single_manager_waits_for_its_disk(tmp_path: Path) -> None:
    """No other member could lead, so it does not step down. The write is acknowledged when it is durable."""
    async with raft_group(tmp_path) as group:
        single = await group.add("alpha")
        await group.leader()
        single.stall_disk()
        write = asyncio.create_task(single("create", name="late"))
        await asyncio.sleep(2)  # nothing may happen during this time
        assert await leads(single)
        assert not write.done()
        single.resume_disk()
        await write
        assert await single("names") == ["late"]
