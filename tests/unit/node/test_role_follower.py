"""Promotion and demotion, step by step: the order of the steps is what lets a daemon stop between any two of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest

from covey.states import NodeRole
from manager.interface import ManagerConfig, ManagerMode
from node import role_follower
from node.certificate import NodeCertificate
from node.manager_config import BootstrapSettings
from node.manager_process import ManagerProcess
from node.membership_state import MembershipState
from node.node_record import NodeRecord, NodeRecordFile, SessionRecord
from node.options import DaemonOptions
from node.role_follower import RoleFollower

MANAGER, WORKER = NodeRole.MANAGER, NodeRole.WORKER


class Steps:
    """Stands for the certificate, the manager process and the files; records what is asked of each, in order."""

    def __init__(self) -> None:
        self.list: list[str] = []
        self.configs: list[ManagerConfig] = []
        self.has_served = False
        self.removed = asyncio.Event()
        """The Raft group has removed the manager."""
        self.raft_state = False

    async def renew_for_role(self, role: Callable[[], NodeRole], _report: Callable[[str], None]) -> None:
        self.list.append(f"renew {role().name.lower()}")

    async def run(self, configure: Callable[[], ManagerConfig], *, must_start: bool) -> None:
        config = configure()
        self.configs.append(config)
        self.list.append(f"run {config.mode}{' or fail' if must_start else ''}")
        self.removed.clear()
        try:
            await self.removed.wait()
        finally:
            self.list.append("stop")

    def has_raft_state(self) -> bool:
        return self.raft_state

    async def remove_manager(self, *, keep_log: bool) -> None:
        self.list.append("move log aside" if keep_log else "remove log")

    async def remove_manager_keys(self) -> None:
        self.list.append("unseal key")

    async def reach(self, *steps: str) -> None:
        """Wait for these steps, which must be all so far, and clear them."""
        async with asyncio.timeout(10):
            while len(self.list) < len(steps):  # noqa: ASYNC110 - polls what has no event
                await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        assert self.list == list(steps)
        self.list.clear()


@contextlib.asynccontextmanager
async def following(
    folder: Path, steps: Steps, role: NodeRole, *, mode: ManagerMode | None = None, established: bool = True
) -> AsyncIterator[RoleFollower]:
    options = DaemonOptions(state_dir=folder, run_dir=folder)
    follower = RoleFollower(
        options,
        cast("MembershipState", steps),
        SessionRecord(NodeRecordFile(folder), NodeRecord(node_id="n1", cluster_id="c1", role=role)),
        cast("ManagerProcess", steps),
        cast("NodeCertificate", steps),
        mode=mode,
        bootstrap=BootstrapSettings(),
    )
    running = asyncio.create_task(follower.run(lambda: established, lambda _reason: None))
    try:
        yield follower
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_a_worker_is_promoted_and_demoted(tmp_path: Path) -> None:
    steps = Steps()
    async with following(tmp_path, steps, WORKER) as follower:
        await steps.reach("remove log", "renew worker", "unseal key")
        follower.desired.set(MANAGER)
        await steps.reach("renew manager", "run join")
        follower.desired.set(WORKER)
        await steps.reach("stop", "remove log", "renew worker", "unseal key")


async def test_a_demotion_that_was_interrupted_is_completed_at_the_next_start(tmp_path: Path) -> None:
    """1. The record says worker. 2. The daemon stopped before it had removed the log and unsealed its key."""
    steps = Steps()
    steps.raft_state = True
    async with following(tmp_path, steps, WORKER):
        await steps.reach("remove log", "renew worker", "unseal key")


async def test_a_manager_continues_with_its_state_after_a_restart(tmp_path: Path) -> None:
    steps = Steps()
    steps.raft_state = True
    async with following(tmp_path, steps, MANAGER):
        await steps.reach("renew manager", "run restart")
    assert steps.list == ["stop"]


async def test_a_first_manager_bootstraps_and_must_start(tmp_path: Path) -> None:
    steps = Steps()
    async with following(tmp_path, steps, MANAGER, mode=ManagerMode.BOOTSTRAP, established=False):
        await steps.reach("run bootstrap or fail")


async def test_a_forced_manager_restarts_normally_once_it_has_served(tmp_path: Path) -> None:
    steps = Steps()
    steps.raft_state = True
    async with following(tmp_path, steps, MANAGER, mode=ManagerMode.FORCE):
        await steps.reach("run force")
    steps.list.clear()
    steps.has_served = True
    async with following(tmp_path, steps, MANAGER, mode=ManagerMode.FORCE):
        await steps.reach("run restart")


async def test_a_manager_that_only_its_group_removed_keeps_its_log_and_joins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. A minority is forced into a new cluster. 2. This manager was not in it. 3. Its log may hold the last copy of writes."""
    monkeypatch.setattr(role_follower, "DEMOTION_WAIT_SECONDS", 0.05)
    steps = Steps()
    async with following(tmp_path, steps, MANAGER, mode=ManagerMode.JOIN):
        await steps.reach("run join")
        steps.removed.set()
        await steps.reach("stop", "move log aside", "renew manager", "renew manager", "run join")


async def test_a_removed_manager_that_is_a_worker_a_moment_later_keeps_no_log(tmp_path: Path) -> None:
    steps = Steps()
    async with following(tmp_path, steps, MANAGER, mode=ManagerMode.JOIN) as follower:
        await steps.reach("run join")
        steps.removed.set()
        asyncio.get_running_loop().call_later(0.1, follower.desired.set, WORKER)
        await steps.reach("stop", "remove log", "renew worker", "unseal key")
