"""Supervision of this node's membership: starts the session, restarts it with backoff, and ends it.

Invariant: an established membership is retried whatever fails; only the cluster itself, a leave or a missing unlock key ends it. Every
task belongs to the task group of ``running``. Called by ``node.membership``.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine

from agent.agent import Agent
from covey.errors import CoveyError, NodeRemovedError, UnavailableError
from covey.task_group import TaskGroup
from engine.interfaces import LocalNodeState
from manager.interface import LockedError
from node.advertise_address import wait_for_local_address
from node.membership_session import MembershipSession, SessionStart
from node.membership_state import MembershipState
from node.node_record import NodeRecord
from node.options import DaemonOptions

REMOVED = 'This node was removed from the swarm by one of its managers. Use "swarm leave" here; then it may join again.'
NOT_RUNNING = "the daemon is starting or stopping; try again"
JOIN_SECONDS = 40.0
FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0

SessionType = Callable[[DaemonOptions, Agent, MembershipState, NodeRecord, SessionStart], MembershipSession]

log = logging.getLogger(__name__)


class MembershipSupervisor:
    """Keeps at most one session running. ``session`` is that one; ``locked`` is the record of a manager that waits for its unlock key;
    ``error`` is why the last membership ended, until the node leaves or joins.
    """

    def __init__(
        self,
        options: DaemonOptions,
        agent: Agent,
        state: MembershipState,
        session_type: SessionType = MembershipSession,
    ) -> None:
        self.session: MembershipSession | None = None
        self.locked: NodeRecord | None = None
        self.error = ""
        self._options = options
        self._agent = agent
        self._state = state
        self._session_type = session_type
        self._task: asyncio.Task[None] | None = None
        self._group: TaskGroup | None = None

    @property
    def is_idle(self) -> bool:
        """Whether this node is in no cluster and shows no error."""
        return self.session is None and self.locked is None and not self.error

    @property
    def local_state(self) -> LocalNodeState:
        """The node's state in Docker's terms; a join or leave in progress is the caller's to add."""
        if self.locked is not None:
            return LocalNodeState.LOCKED
        if self.session is not None:
            return LocalNodeState.ACTIVE if self.session.joined.is_set() else LocalNodeState.PENDING
        return LocalNodeState.ERROR if self.error else LocalNodeState.INACTIVE

    @property
    def record(self) -> NodeRecord | None:
        """The record of the running session or the locked manager."""
        return self.session.record.current if self.session is not None else self.locked

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[TaskGroup]:
        """Own all tasks for the length of the block; the session ends with it."""
        async with TaskGroup() as group:
            self._group = group
            try:
                yield group
            finally:
                await self.stop()

    def start(self, record: NodeRecord, start: SessionStart) -> MembershipSession:
        """Start a session and keep it running."""
        if self._group is None:
            raise UnavailableError(NOT_RUNNING)
        self.error, self.locked = "", None
        session = self.session = self._new_session(record, start)
        self._task = self._group.create_task(self._supervise(session))
        return session

    def resume(self, record: NodeRecord) -> None:
        """Rejoin the cluster of the record; a manager without its unlock key is locked instead. Containers run on in any case."""
        if self._state.is_locked(record):
            self._lock(record)
        else:
            self.start(record, SessionStart(is_established=True))

    async def wait_joined(self, session: MembershipSession) -> str:
        """Wait until the cluster knows this node. The reason if the session ends or the cluster refuses it first, or 40 s pass."""
        assert self._task is not None  # noqa: S101 - start made it
        waiting = {asyncio.ensure_future(event.wait()) for event in (session.joined, session.rejected)}
        try:
            await asyncio.wait({*waiting, self._task}, timeout=JOIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
        return self.error or session.error

    async def stop(self) -> None:
        """End the session and its manager."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        self.session = None

    async def leave(self) -> None:
        """End this node's tasks and forget errors and locks. The session is stopped before."""
        self.error, self.locked = "", None
        await self._end_tasks()

    async def run_to_completion(self, work: Coroutine[None, None, None]) -> None:
        """Finish ``work`` even if the client that asked for it disconnects: a half-done change is worse than either end."""
        if self._group is None:
            work.close()
            raise UnavailableError(NOT_RUNNING)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            try:
                await work
            except Exception as error:  # belongs to the client
                if done.cancelled():
                    log.exception("a change of membership failed after its client had disconnected")
                else:
                    done.set_exception(error)
            else:
                if not done.cancelled():
                    done.set_result(None)

        self._group.create_task(run())
        await done

    def _new_session(self, record: NodeRecord, start: SessionStart) -> MembershipSession:
        return self._session_type(self._options, self._agent, self._state, record, start)

    async def _supervise(self, session: MembershipSession) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        try:
            while True:
                if session.is_established:
                    await wait_for_local_address(self._options, session)
                reason = await self._run_session(session)
                if self.locked is not None:
                    return
                if self.error or not session.is_established:
                    self.error = self.error or reason
                    return
                backoff = FIRST_BACKOFF_SECONDS if session.joined.is_set() else min(backoff * 2, MAX_BACKOFF_SECONDS)
                log.error("the membership session ended and restarts in %g s: %s", backoff, reason)
                restart = SessionStart(is_established=True, last_error=reason)
                session = self.session = self._new_session(session.record.current, restart)
                await asyncio.sleep(backoff)
        finally:
            if self.session is session:
                self.session = None

    async def _run_session(self, session: MembershipSession) -> str:
        """Run one session and return why it ended. An error becomes this node's state; it never ends the daemon."""
        try:
            await session.run()
        except NodeRemovedError as error:
            log.error("the cluster has removed this node; its tasks end: %s", error.message)  # noqa: TRY400 - a sentence
            self.error = REMOVED
            await self._end_tasks()
        except LockedError as error:
            self._lock(session.record.current)
            return error.message
        except CoveyError as error:
            return error.message
        except Exception as error:  # the daemon continues and shows the error
            log.exception("the membership session failed")
            return f"{type(error).__name__}: {error}"
        return REMOVED

    def _lock(self, record: NodeRecord) -> None:
        log.warning("this manager is locked and waits for its unlock key")
        self.locked = record

    async def _end_tasks(self) -> None:
        try:
            await self._agent.leave_cluster()
        except CoveyError as error:
            log.warning("tasks of the cluster are still ending: %s", error.message)
