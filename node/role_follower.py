"""Role changes of a membership session: starts the manager on promotion, stops it and removes its state on demotion.

Invariant: the role in the store decides. Promotion renews the certificate, then starts a manager that joins the group. Demotion stops
the manager, removes its log, renews, and stores the node's key unsealed. Each step can be repeated, so a daemon that stops between two
steps continues with the next one. Called by ``node.membership_session``.
"""

import asyncio
from collections.abc import Callable

from covey.states import NodeRole
from covey.task_group import TaskGroup
from manager.interface import ManagerConfig, ManagerMode
from node.certificate import NodeCertificate
from node.manager_config import BootstrapSettings, build_manager_config
from node.manager_process import ManagerProcess
from node.membership_state import MembershipState
from node.node_record import SessionRecord
from node.options import DaemonOptions

DEMOTION_WAIT_SECONDS = 3.0
"""How long a manager that the group has removed waits for the new role, which normally follows within a second."""


class DesiredRole:
    """The role that the store gives this node. It can be waited for."""

    def __init__(self, role: NodeRole) -> None:
        self.current = role
        self._changed = asyncio.Event()

    def set(self, role: NodeRole) -> None:
        """Change the role and wake everyone who waits."""
        self.current = role
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait_for(self, role: NodeRole) -> None:
        """Return once the node has this role."""
        while self.current is not role:
            await self._changed.wait()


class RoleFollower:
    """Runs the manager process while this node is a manager. ``mode`` is how a first manager starts; None continues what the record and
    the disk say.
    """

    def __init__(
        self,
        options: DaemonOptions,
        state: MembershipState,
        record: SessionRecord,
        manager: ManagerProcess,
        certificate: NodeCertificate,
        *,
        mode: ManagerMode | None,
        bootstrap: BootstrapSettings,
    ) -> None:
        self.desired = DesiredRole(record.current.role)
        self._options = options
        self._state = state
        self._record = record
        self._manager = manager
        self._certificate = certificate
        self._mode = mode
        self._bootstrap = bootstrap

    async def run(self, is_established: Callable[[], bool], report: Callable[[str], None]) -> None:
        """Follow the role until cancelled. ``report`` receives the reason why the node cannot take its role yet. Before the session
        ``is_established``, a manager that fails to start ends it.
        """
        mode = self._mode
        if mode is None and self._record.current.role is NodeRole.WORKER:
            await self._remove_manager(keep_log=False)  # of a demotion that was interrupted
            await self._renew(report)
            await self._state.remove_manager_keys()
        while True:
            await self.desired.wait_for(NodeRole.MANAGER)
            if mode is None:
                await self._renew(report)
            await self._run_manager(mode or ManagerMode.JOIN, must_start=not is_established())
            await self._remove_manager(keep_log=self.desired.current is NodeRole.MANAGER)
            await self._renew(report)
            if self.desired.current is NodeRole.WORKER:
                await self._state.remove_manager_keys()
            mode = None

    async def _run_manager(self, mode: ManagerMode, *, must_start: bool) -> None:
        """Run the manager until the node is demoted or the group has removed it. An existing member restarts; a new one bootstraps or
        joins. A member that was removed but is a manager in the store (demoted and promoted at once) joins as a new member.
        """

        def configure() -> ManagerConfig:
            is_forced = mode is ManagerMode.FORCE and not self._manager.has_served
            start = ManagerMode.RESTART if self._is_member() and not is_forced else mode
            return build_manager_config(self._options, self._record.current, self._bootstrap, start)

        async with TaskGroup() as group:
            process = group.create_task(self._manager.run(configure, must_start=must_start))
            demoted = group.create_task(self.desired.wait_for(NodeRole.WORKER))
            await asyncio.wait({process, demoted}, return_when=asyncio.FIRST_COMPLETED)
            process.cancel()
            await asyncio.wait({demoted}, timeout=DEMOTION_WAIT_SECONDS)
            demoted.cancel()

    def _is_member(self) -> bool:
        """Whether this manager continues with existing state. With etcd, that is so for a node that has served before."""
        if self._options.store:
            return self._mode is None and bool(self._record.current.store)
        return self._state.has_raft_state()

    async def _remove_manager(self, *, keep_log: bool) -> None:
        self._record.update(store="")
        await self._state.remove_manager(keep_log=keep_log)

    async def _renew(self, report: Callable[[str], None]) -> None:
        await self._certificate.renew_for_role(lambda: self.desired.current, report)
