"""Agent session: keeps one stream to the leader, and finds the leader again whenever the stream is lost.

Invariant: the agent leaves a manager that is silent for two and a half heartbeat periods, because managers answer every heartbeat. A status
is reported until it is acknowledged. Assignments reach the worker in order; a difference that does not apply ends the stream.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Sequence

from grpc import aio

from agent.identity import IdentityStore
from agent.session.interfaces import ImagesPort, NetworksPort, TaskCallsPort, WorkerPort
from agent.session.stream import SessionStream
from agent.session.tls_check import is_untrusted
from covey.errors import CoveyError, InvalidArgumentError, NodeRemovedError, PreconditionError, first_cause
from covey.grpc_errors import LEADER_METADATA, error_from_status, metadata_value, raised_by_server
from covey.objects import NodeDescription, replace
from covey.task_group import TaskGroup
from coveypb.v1 import dispatcher_pb2

log = logging.getLogger(__name__)

StateCallback = Callable[[dispatcher_pb2.SessionState], None]

_UNTRUSTED_ROOT_MESSAGE = (
    "this node does not trust the root of the managers' certificates: either the root was rotated after this node was removed, "
    'or the managers belong to another cluster. Use "swarm leave --force" on this node and join again'
)
_FIRST_BACKOFF_SECONDS = 0.1
_MAX_BACKOFF_SECONDS = 2.0
DESCRIPTION_CHECK_SECONDS = 5.0
"""How often the host is looked at for changes that nobody notifies of: its name, CPUs, memory and drivers."""
_STABLE_SESSION_SECONDS = 5.0
"""A shorter session does not reset the backoff, so that two agents with one identity do not end each other's sessions all the time."""


class AgentSession:
    """One per agent. ``managers`` are the initial HOST:PORT addresses of mTLS listeners; each SessionState brings the current ones.
    ``on_refused`` gets the reason when the managers refuse this node, or this node refuses them; the session keeps trying. ``on_rejected``
    is called as well when trying again is of no use: the node's addresses or the cluster must change first.
    """

    def __init__(
        self,
        identity: IdentityStore,
        managers: Sequence[str],
        worker: WorkerPort,
        images: ImagesPort,
        describe: Callable[[], NodeDescription],
        *,
        networks: NetworksPort,
        task_calls: TaskCallsPort | None = None,
        addr: str = "",
        on_state: StateCallback | None = None,
        on_refused: Callable[[str], None] | None = None,
        on_rejected: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        description_check_seconds: float = DESCRIPTION_CHECK_SECONDS,
    ) -> None:
        self.managers = tuple(managers)
        self.connected = asyncio.Event()
        self._clock = clock
        self._description_check_seconds = description_check_seconds
        self._sent_description = NodeDescription()
        self._disconnected_at = clock()
        self._manager_hints: tuple[str, ...] = ()
        self._use_hint = False
        self._identity = identity
        self._worker = worker
        self._images = images
        self._networks = networks
        self._task_calls = task_calls
        self._describe = describe
        self._addr = addr
        self._on_state = on_state
        self._on_refused = on_refused
        self._on_rejected = on_rejected
        self._description_changed = asyncio.Event()
        self._tls_check: asyncio.Task[None] | None = None

    @property
    def disconnected_seconds(self) -> float:
        """Seconds since this node lost its session with a leader; 0 while it has one."""
        return 0.0 if self.connected.is_set() else self._clock() - self._disconnected_at

    def notify_description_changed(self) -> None:
        """The node's description has changed and must be sent again."""
        self._description_changed.set()

    def add_managers(self, managers: Sequence[str]) -> None:
        """Adds manager addresses. Until a leader names the current managers, every other attempt uses one of these."""
        self.managers = tuple(dict.fromkeys((*managers, *self.managers)))
        self._manager_hints = tuple(managers)

    async def run(self) -> None:
        """Keeps a session until cancelled.

        Raises:
            NodeRemovedError: this node was removed from the cluster.
        """
        try:
            async with TaskGroup() as group:
                await self._follow_leader(group)
        except BaseExceptionGroup as errors:
            raise first_cause(errors) from errors

    async def _follow_leader(self, group: TaskGroup) -> None:
        backoff_seconds, leader_addr, addr = _FIRST_BACKOFF_SECONDS, "", ""
        while True:
            addr = leader_addr or self._choose_manager(addr)
            began = self._clock()
            leader_addr, was_established = await self._run_stream(addr, group)
            if leader_addr and leader_addr != addr:
                continue
            was_stable = was_established and self._clock() - began >= _STABLE_SESSION_SECONDS
            backoff_seconds = _FIRST_BACKOFF_SECONDS if was_stable else min(backoff_seconds * 2, _MAX_BACKOFF_SECONDS)
            await asyncio.sleep(backoff_seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def _choose_manager(self, previous: str) -> str:
        """A random manager, but not the previous one, which may be dead: a node that meets it three times is taken for down."""
        self._use_hint = not self._use_hint
        managers = self._manager_hints if self._manager_hints and self._use_hint else self.managers
        others = [addr for addr in managers if addr != previous] or list(managers)
        return random.choice(others) if others else ""  # noqa: S311 - spreads load

    async def _run_stream(self, addr: str, group: TaskGroup) -> tuple[str, bool]:
        """Runs one stream to its end. Returns the leader's address if the manager named it, and whether a session was established."""
        stream = SessionStream(
            self._worker,
            self._images,
            self._networks,
            self._handle_state,
            self._wait_for_new_description,
            on_task_call=lambda request: self._start_task_call(request, group),
        )
        if not addr:
            log.warning("no manager address is known; waiting for one")
            return "", False
        failure: BaseException | None = None
        try:
            async with self._identity.require().channel(addr) as channel:
                self._description_changed.clear()
                self._sent_description = self._described()
                await stream.run(channel, self._sent_description, self._addr)
        except* (aio.AioRpcError, CoveyError, TimeoutError, OSError, asyncio.InvalidStateError) as failures:
            failure = first_cause(failures)
        finally:
            if self.connected.is_set():
                self._disconnected_at = self._clock()
            self.connected.clear()
        if isinstance(failure, aio.AioRpcError):
            if not stream.established and not raised_by_server(failure.trailing_metadata()):
                self._start_tls_check(addr, group)
            return self._handle_failure(addr, failure), stream.established
        log.info("session with %s ended: %s", addr, failure or "by the manager")
        return "", stream.established

    def _described(self) -> NodeDescription:
        return replace(self._describe(), tls=self._identity.require().tls_info)

    async def _wait_for_new_description(self) -> NodeDescription:
        """Waits until the description has changed, and returns it."""
        while True:
            try:
                async with asyncio.timeout(self._description_check_seconds):
                    await self._description_changed.wait()
                break
            except TimeoutError:
                if self._described() != self._sent_description:
                    break
        self._description_changed.clear()
        self._sent_description = self._described()
        return self._sent_description

    def _handle_failure(self, addr: str, failure: aio.AioRpcError) -> str:
        """Acts on the error that ended a stream, by its kind. Returns the leader's address if the manager named it."""
        metadata = failure.trailing_metadata()
        error = error_from_status(failure.code().name, failure.details() or "", metadata)
        if isinstance(error, NodeRemovedError):
            raise error
        log.info("session with %s ended: %s %s", addr, failure.code().name, error.message)
        if isinstance(error, InvalidArgumentError | PreconditionError):
            self._refuse(error.message)
        if isinstance(error, PreconditionError) and self._on_rejected is not None:
            self._on_rejected()
        return metadata_value(metadata, LEADER_METADATA) or ""

    def _start_task_call(self, request: dispatcher_pb2.OpenTaskCall, group: TaskGroup) -> None:
        """Serves a call beside the sessions: it goes on when this one ends."""
        if self._task_calls is not None:
            group.create_task(self._task_calls.serve(request), name=f"task call {request.call_id}")

    def _start_tls_check(self, addr: str, group: TaskGroup) -> None:
        """Finds out whether the connection failed for an untrusted root; one check at a time, beside the next attempt to connect."""
        if self._tls_check is None or self._tls_check.done():
            self._tls_check = group.create_task(self._check_tls(addr))

    async def _check_tls(self, addr: str) -> None:
        with contextlib.suppress(CoveyError, OSError):  # the node may be leaving, then its identity is gone
            if await is_untrusted(addr, self._identity.require().root):
                self._refuse(_UNTRUSTED_ROOT_MESSAGE)

    def _refuse(self, reason: str) -> None:
        if self._on_refused is not None:
            self._on_refused(reason)

    def _handle_state(self, state: dispatcher_pb2.SessionState) -> None:
        managers = tuple(manager.addr for manager in state.managers if manager.addr)
        if managers:
            self.managers, self._manager_hints = managers, ()
        self.connected.set()
        if self._on_state is not None:
            self._on_state(state)
