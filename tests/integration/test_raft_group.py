"""A Raft group of three real processes with encrypted logs and mTLS, under crashes, removals and lost disks."""

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from tests.support.raft_processes import CommandError, RaftGroup, raft_group, until

pytestmark = pytest.mark.timeout(120)


async def names(member, fresh: bool = False) -> set[str]:
    return set(await member("names", fresh=fresh))


async def create_until_acknowledged(group: RaftGroup, name: str) -> None:
    """Create through the leader with retries; after a lost answer the name may already exist."""

    async def attempt() -> bool:
        leader = await group.leader()
        try:
            await leader("create", name=name)
        except CommandError as error:
            return error.kind == "AlreadyExistsError"
        return True

    await until(attempt, f"acknowledgement of {name}")


async def same_state(group: RaftGroup) -> None:
    async def check() -> bool:
        states = {await member("digest") for member in group.members.values() if member.is_running}
        return len(states) == 1

    await until(check, "equal state on all members")


async def test_writes_on_the_leader_are_readable_on_every_member(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        await group.add_three()
        leader = await group.leader()
        await asyncio.gather(*[leader("create", name=f"n{i}") for i in range(50)])
        for member in group.members.values():
            assert await names(member, fresh=True) == {f"n{i}" for i in range(50)}
        await same_state(group)
        followers = await group.followers()
        with pytest.raises(CommandError) as refused:
            await followers[0]("create", name="elsewhere")
        assert refused.value.kind == "NotLeaderError"
        assert leader.addr in refused.value.message


async def test_no_acknowledged_write_is_lost_when_the_leader_is_killed(tmp_path: Path) -> None:
    """Clients write while the leader is killed, twice."""
    async with raft_group(tmp_path) as group:
        await group.add_three()
        acknowledged: set[str] = set()
        stop = asyncio.Event()

        async def writer(number: int) -> None:
            count = 0
            while not stop.is_set():
                name = f"w{number}-{count}"
                count += 1
                try:
                    await (await group.leader())("create", name=name)
                except (CommandError, TimeoutError, ConnectionError):
                    continue
                acknowledged.add(name)

        async with asyncio.TaskGroup() as tasks:
            for number in range(8):
                tasks.create_task(writer(number))
            for _ in range(2):
                enough = len(acknowledged) + 200

                async def written(enough: int = enough) -> bool:
                    return len(acknowledged) >= enough

                await until(written, "200 more writes")
                victim = await group.leader()
                await victim.kill()
                began = time.monotonic()
                await create_until_acknowledged(group, f"after-{victim.node_id}")
                assert time.monotonic() - began < 5, "it took too long to write again"
                await victim.start()
            stop.set()
        await create_until_acknowledged(group, "last")
        for member in group.members.values():
            assert acknowledged <= await names(member, fresh=True)
        await same_state(group)


async def test_concurrent_read_change_write_loses_no_update(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        await group.add_three()
        leader = await group.leader()
        await leader("counter", name="counter")
        await asyncio.gather(*[leader("increment", name="counter") for _ in range(60)])
        assert await leader("data", name="counter") == "60"


async def test_a_follower_that_was_down_catches_up_from_the_log(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        await group.add_three()
        follower = (await group.followers())[0]
        await follower.kill()
        leader = await group.leader()
        await leader("load", clients=10, writes=300, size=64, prefix="x")
        await follower.start()
        assert len(await names(follower, fresh=True)) == 300
        await same_state(group)


async def test_a_follower_behind_the_log_and_a_new_member_get_a_snapshot(tmp_path: Path) -> None:
    """The log is compacted after 200 entries, so the missing entries are only in a snapshot of several chunks."""
    async with raft_group(tmp_path, snapshot_interval=200, log_entries_for_slow_followers=20) as group:
        await group.add_three()
        follower = (await group.followers())[0]
        await follower.kill()
        leader = await group.leader()
        await leader("load", clients=20, writes=1200, size=4096, prefix="x", timeout_seconds=60)

        async def compacted() -> bool:
            return (await leader("status"))["first_index"] > 400

        await until(compacted, "compaction")
        await follower.start()
        assert len(await names(follower, fresh=True)) == 1200
        await group.add("delta")
        await group.wait_voters(4)
        assert len(await names(group.members["delta"], fresh=True)) == 1200
        await same_state(group)
        restarted = group.members["delta"]
        await restarted.kill()
        await restarted.start()
        assert len(await names(restarted, fresh=True)) == 1200


async def test_all_members_killed_at_once_restart_with_all_writes(tmp_path: Path) -> None:
    async with raft_group(tmp_path, snapshot_interval=100, log_entries_for_slow_followers=10) as group:
        await group.add_three()
        leader = await group.leader()
        await leader("load", clients=20, writes=333, size=64, prefix="x")
        await asyncio.gather(*[member.kill() for member in group.members.values()])
        await asyncio.gather(*[member.start() for member in group.members.values()])
        await create_until_acknowledged(group, "later")
        for member in group.members.values():
            assert len(await names(member, fresh=True)) == 334


async def test_a_single_manager_restarts_with_its_state(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        single = await group.add("alpha")
        await group.leader()
        await single("create", name="kept")
        seconds = []
        for _ in range(3):
            await single.kill()
            await single.start()
            began = time.monotonic()
            await group.leader()
            seconds.append(time.monotonic() - began)
        assert min(seconds) < 0.8, f"it waited for an election timeout, though nobody else could lead: {seconds}"
        assert await names(single) == {"kept"}


async def test_a_leader_that_stops_transfers_leadership_at_once(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        await group.add_three()
        seconds = []
        for number in range(3):
            old = await group.leader()
            await old("close")
            assert await old.wait() == 0
            began = time.monotonic()
            await create_until_acknowledged(group, f"next-{number}")
            seconds.append(time.monotonic() - began)
            await old.start()
            await group.wait_connected(3)
        assert min(seconds) < 0.9, f"the others waited for an election timeout: {seconds}"


async def test_a_removed_member_exits_and_the_others_continue(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        await group.add_three()
        follower = (await group.followers())[0]
        leader = await group.leader()
        await leader("leave", node_id=follower.node_id)
        assert await follower.wait() == 3
        await leader("create", name="without")
        left = {member["node_id"] for member in (await leader("status"))["members"]}
        assert left == set(group.members) - {follower.node_id}


async def test_a_member_removed_while_it_was_down_exits_when_it_returns(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        await group.add_three()
        down = (await group.followers())[0]
        await down.kill()
        leader = await group.leader()
        await leader("leave", node_id=down.node_id)
        await down.start()
        assert await down.wait() == 3
        await leader("create", name="undisturbed")


async def test_a_member_whose_promotion_is_not_known_to_its_disk_exits_when_it_was_removed(tmp_path: Path) -> None:
    """1. The last promoted member is killed before its next write, so its disk does not say that the promotion is committed. 2. It is
    removed. 3. It returns as a learner, which never campaigns; it asks nevertheless.
    """
    async with raft_group(tmp_path) as group:
        await group.add_three()
        last = group.members["gamma"]
        await last.kill()
        leader = await group.leader()
        await leader("leave", node_id=last.node_id)
        await last.start()
        assert await last.wait() == 3


async def test_a_peer_that_was_paused_for_long_is_reached_again_at_once(tmp_path: Path) -> None:
    """Writes to it block while it is paused; when it continues, a new connection replaces the old one."""
    async with raft_group(tmp_path) as group:
        await group.add_three()
        leader = await group.leader()
        hung = (await group.followers())[0]
        hung.pause()
        await leader("load", clients=20, writes=2000, size=8192, prefix="x", timeout_seconds=60)

        async def noticed() -> bool:
            members = (await leader("status"))["members"]
            return {m["node_id"] for m in members if not m["reachable"]} == {hung.node_id}

        await until(noticed, "notice of the hung member")
        hung.resume()

        async def caught_up() -> bool:
            return len(await names(hung)) == 2000

        await until(caught_up, "the hung member with all writes", seconds=15)


async def test_a_leader_transfers_leadership_before_it_leaves(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        await group.add_three()
        old = await group.leader()
        await (await group.followers())[0]("leave", node_id=old.node_id)
        assert await old.wait() == 3
        await create_until_acknowledged(group, "without")


async def test_a_removal_that_would_lose_the_quorum_is_refused_with_the_numbers(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        await group.add_three()
        dead, other = await group.followers()
        await dead.kill()
        leader = await group.leader()

        async def noticed() -> bool:
            members = (await leader("status"))["members"]
            return {m["node_id"] for m in members if not m["reachable"]} == {dead.node_id}

        await until(noticed, "notice of the dead member")
        with pytest.raises(CommandError) as refused:
            await leader("leave", node_id=other.node_id)
        assert refused.value.kind == "ConflictError"
        assert "leave 2 managers of which 1 are reachable, but 2 are needed" in refused.value.message
        await leader("leave", node_id=dead.node_id)
        await leader("create", name="still")


async def test_a_new_member_catches_up_from_a_leader_that_joined_later(tmp_path: Path) -> None:
    """1. The first member no longer leads. 2. A new member gets the bootstrap snapshot, in which the leader is no member. 3. It must still
    accept the log from that leader.
    """
    async with raft_group(tmp_path) as group:
        await group.add_three()
        first = group.members["alpha"]
        await first.kill()
        leader = await group.leader()
        await first.start()
        await leader("create", name="before")
        new_member = await group.add("delta")
        await group.wait_voters(4)
        assert "before" in await names(new_member, fresh=True)


async def test_a_member_that_lost_its_disk_rejoins_as_a_new_member(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        await group.add_three()
        leader = await group.leader()
        await leader("create", name="before")
        lost = (await group.followers())[0]
        await lost.kill()
        lost.folder.rename(lost.folder.with_name("lost"))
        await lost.start()
        await group.wait_voters(3)
        assert await names(lost, fresh=True) == {"before"}


async def test_a_leader_without_a_quorum_acknowledges_nothing_and_serves_no_fresh_reads(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        await group.add_three()
        leader = await group.leader()
        for follower in await group.followers():
            follower.pause()
        with pytest.raises(CommandError) as failed:
            await leader("create", name="lost")
        assert failed.value.kind == "OutcomeUnknownError"
        with pytest.raises(CommandError):
            await leader("names", fresh=True)
        for member in group.members.values():
            member.resume()
        await create_until_acknowledged(group, "after")
        await same_state(group)


async def test_two_processes_cannot_share_a_folder(tmp_path: Path) -> None:
    async with raft_group(tmp_path) as group:
        await group.add("alpha")
        with pytest.raises(AssertionError, match="did not start"):
            await group.add("beta", folder=group.members["alpha"].config["folder"])


async def test_stored_data_is_encrypted_on_disk(tmp_path: Path) -> None:
    async with raft_group(tmp_path, snapshot_interval=5, log_entries_for_slow_followers=1) as group:
        single = await group.add("alpha")
        await group.leader()
        for number in range(20):
            await single("create", name=f"plaintext-marker-{number}")
        await single("close")
        await single.wait()
        files = [path for path in single.folder.rglob("*") if path.is_file()]
        assert any(path.suffix == ".snap" for path in files)
        for path in files:
            assert b"plaintext-marker" not in path.read_bytes(), path


async def test_a_killed_leader_is_detected_at_once_by_its_broken_connections(tmp_path: Path) -> None:
    """Faster than the minimum election timeout of one second, so by the broken connection and not by the timeout."""
    async with raft_group(tmp_path) as group:
        await group.add_three()
        seconds = []
        for number in range(3):
            leader, others = await group.leader(), await group.followers()
            await leader.kill()
            began = time.monotonic()
            await until(
                lambda number=number, others=others: write_on_any(others, f"after-{number}"), "acknowledged write"
            )
            seconds.append(time.monotonic() - began)
            await leader.start()
            await group.wait_connected(3)
    assert min(seconds) < 0.9, seconds


async def write_on_any(members: list, name: str) -> bool:
    for member in members:
        with contextlib.suppress(CommandError):
            await member("create", name=f"{name}-{member.node_id}")
            return True
    return False
