"""Agent session: keeps one stream to the leader, and finds the leader again whenever the stream is lost.

Invariant: the agent leaves a manager that is silent for two and a half heartbeat periods, because managers answer every heartbeat. A status
is reported until it is acknowledged. Assignments reach the worker in order; a difference that does not apply ends the stream.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence

from grpc import aio

from agent.identity import IdentityStore
from agent.session.ports import WorkerPort
from agent.session.status_queue import StatusQueue
from agent.session.stream import SessionStream
from covey.errors import CoveyError, NodeRemovedError, first_cause
from covey.grpc_errors import LEADER_METADATA, error_from_status, metadata_value
from covey.objects import NodeDescription, replace
from coveypb.v1 import dispatcher_pb2

log = logging.getLogger(__name__)

StateCallback = Callable[[dispatcher_pb2.SessionState], None]

_UNTRUSTED_ROOT_MESSAGE = (
    "the managers' certificates are from a root that this node does not trust: the root was rotated after this node had been removed, "
    'or these are another cluster\'s managers; use "docker swarm leave --force" here and join again'
)
_FIRST_BACKOFF_SECONDS = 0.1
_MAX_BACKOFF_SECONDS = 2.0


class AgentSession:
    """One an agent. ``managers`` are HOST:PORT of mTLS listeners to begin with; each SessionState brings the present ones.
    ``on_refused`` is told the leader's sentence when it does not take the node as it describes itself; the session tries again.
    """

    def __init__(
        self,
        identity: IdentityStore,
        managers: Sequence[str],
        worker: WorkerPort,
        describe: Callable[[], NodeDescription],
        *,
        addr: str = "",
        on_state: StateCallback | None = None,
        on_refused: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.managers = tuple(managers)
        self.connected = asyncio.Event()
        self._clock = clock
        self._disconnected_at = clock()
        self._manager_hints: tuple[str, ...] = ()
        self._use_hint = False
        self._identity = identity
        self._worker = worker
        self._describe = describe
        self._addr = addr
        self._on_state = on_state
        self._on_refused = on_refused
        self._reports = StatusQueue()
        self._description_changed = asyncio.Event()

    @property
    def disconnected_seconds(self) -> float:
        """How long no leader has taken this node up; 0 while one has."""
        return 0.0 if self.connected.is_set() else self._clock() - self._disconnected_at

    def notify_description_changed(self) -> None:
        """What the node says of itself is something else now."""
        self._description_changed.set()

    def add_managers(self, managers: Sequence[str]) -> None:
        """Managers are at these addresses too, until a leader says where they are; every other attempt is
        with one of them.
        """
        self.managers = tuple(dict.fromkeys((*managers, *self.managers)))
        self._manager_hints = tuple(managers)

    async def run(self) -> None:
        """Until cancelled.

        Raises:
            RemovedFromCluster: this node was removed.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._collect_statuses(), name="session statuses")
                group.create_task(self._follow_leader(), name="session stream")
        except BaseExceptionGroup as errors:
            raise first_cause(errors) from errors

    async def _collect_statuses(self) -> None:
        async for update in self._worker.statuses:
            self._reports.put(update.task_id, update.status)
        await asyncio.Event().wait()  # a worker that has no more to say does not end the session

    async def _follow_leader(self) -> None:
        pause, hint = _FIRST_BACKOFF_SECONDS, ""
        while True:
            addr = hint or self._choose_manager()
            hint, was_up = await self._run_stream(addr)
            if hint and hint != addr:
                continue
            pause = _FIRST_BACKOFF_SECONDS if was_up else min(pause * 2, _MAX_BACKOFF_SECONDS)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def _choose_manager(self) -> str:
        self._use_hint = not self._use_hint
        if self._manager_hints and self._use_hint:
            return random.choice(self._manager_hints)  # noqa: S311 - spreads load
        return random.choice(self.managers) if self.managers else ""  # noqa: S311 - spreads load

    async def _run_stream(self, addr: str) -> tuple[str, bool]:
        """One stream to its end: the leader's address if the manager named it, and whether a session came about."""
        stream = SessionStream(self._worker, self._reports, self._handle_state, self._wait_for_new_description)
        if not addr:
            log.warning("no manager is known; waiting for one")
            return "", False
        failure: BaseException | None = None
        try:
            async with self._identity.require().channel(addr) as channel:
                self._description_changed.clear()
                await stream.run(channel, self._described(), self._addr)
        except* (aio.AioRpcError, CoveyError, TimeoutError, OSError, asyncio.InvalidStateError) as failures:
            failure = first_cause(failures)
        finally:
            if self.connected.is_set():
                self._disconnected_at = self._clock()
            self.connected.clear()
        if isinstance(failure, aio.AioRpcError):
            return self._leader_named(addr, failure), stream.established
        log.info("session with %s ended: %s", addr, failure or "by the manager")
        return "", stream.established

    def _described(self) -> NodeDescription:
        return replace(self._describe(), tls=self._identity.require().tls_info)

    async def _wait_for_new_description(self) -> NodeDescription:
        """Waits until the description has changed."""
        await self._description_changed.wait()
        self._description_changed.clear()
        return self._described()

    def _leader_named(self, addr: str, failure: aio.AioRpcError) -> str:
        details = failure.details() or ""
        error = error_from_status(failure.code().name, details, failure.trailing_metadata())
        if isinstance(error, NodeRemovedError):
            raise error
        log.info("session with %s ended: %s %s", addr, failure.code().name, details)
        if "CERTIFICATE_VERIFY_FAILED" in details and self._on_refused is not None:
            self._on_refused(_UNTRUSTED_ROOT_MESSAGE)
        if failure.code().name == "INVALID_ARGUMENT" and self._on_refused is not None:
            self._on_refused(details)
        return metadata_value(failure.trailing_metadata(), LEADER_METADATA) or ""

    def _handle_state(self, state: dispatcher_pb2.SessionState) -> None:
        managers = tuple(manager.addr for manager in state.managers if manager.addr)
        if managers:
            self.managers, self._manager_hints = managers, ()
        self.connected.set()
        if self._on_state is not None:
            self._on_state(state)
