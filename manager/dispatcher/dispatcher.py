"""Dispatcher gRPC service: the sessions of all agents while this manager leads.

Invariant: a node has one session, the latest. A manager that does not lead names the leader and ends the stream. Node states and task
statuses are written to the store only from here. ``run`` is one of the leader's loops; the gRPC methods live as long as the process.
"""

# ruff: noqa: N802 - gRPC names its methods so

import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from covey import codec
from covey.clock import SECOND, Clock, wall_clock
from covey.errors import CoveyError, first_cause
from covey.ids import new_id
from covey.objects import NodeDescription
from coveypb.v1 import dispatcher_pb2
from manager.caller import peer_of
from manager.dispatcher import attachments
from manager.dispatcher.node_session import NodeSession, read_hello
from manager.dispatcher.term import DispatcherTerm
from manager.grpc_status import abort_not_leader, abort_with
from manager.images.service import ImageService
from manager.network_checks import NetworkChecks
from manager.store import NotLeaderError, Store
from manager.task_calls import TaskCalls

UsageCallback = Callable[[str, dispatcher_pb2.TaskUsages], None]
"""Takes what tasks of a node use."""

log = logging.getLogger(__name__)

RECOVERY_GRACE_SECONDS = 30
"""After a recovery no node is marked DOWN for this time: the nodes search for a manager that may have moved, and their tasks must not be
replaced meanwhile.
"""


class LogSink(Protocol):
    """Interface to the log broker."""

    async def publish(self, node_id: str, batches: AsyncIterator[dispatcher_pb2.LogBatch]) -> None:
        """Takes the log lines that a node sends for one subscription."""
        ...

    def keep_tails(self, node_id: str, tails: dispatcher_pb2.LogTails) -> None:
        """Keeps the ends of the logs of a node's tasks."""
        ...


class Dispatcher:
    """One per manager process. ``sink`` takes the log lines that agents publish, ``images`` answers about images,
    ``network_checks`` takes what nodes found in their network state, ``task_usages`` what tasks use, ``task_calls`` the nodes' ends of
    calls of tasks.
    """

    def __init__(
        self,
        store: Store,
        sink: LogSink,
        clock: Clock | None = None,
        *,
        images: ImageService | None = None,
        network_checks: NetworkChecks | None = None,
        task_usages: UsageCallback = lambda _node_id, _usages: None,
        task_calls: TaskCalls | None = None,
        recovered: bool = False,
    ) -> None:
        """``recovered``: this process restored the cluster or forced a new one."""
        self._store = store
        self._sink = sink
        self._clock = clock or monotonic_wall_clock()
        self._recovery_grace_ends_ns = self._clock() + RECOVERY_GRACE_SECONDS * SECOND if recovered else 0
        self._images = images or ImageService(store)
        self._task_calls = task_calls or TaskCalls(store, "")
        self._network_checks = network_checks or NetworkChecks(store)
        self._task_usages = task_usages
        self._term: DispatcherTerm | None = None

    async def run(self) -> None:
        """Serves agents while this manager leads, until cancelled."""
        term = DispatcherTerm(self._store, self._clock, self._recovery_grace_ends_ns)
        self._term = term
        self._images.begin_term()
        try:
            await term.run()
        finally:
            self._term = None
            term.end_all(NotLeaderError(self._other_leader_addr()))
            self._images.end_term()

    def _other_leader_addr(self) -> str:
        """Address of the leader; empty if there is none, or while this manager still holds a leadership that it is about to hand over."""
        leadership = self._store.consensus.leadership
        return "" if leadership.is_leader else leadership.leader_addr

    def send(self, node_id: str, message: dispatcher_pb2.ManagerMessage) -> bool:
        """Sends a node a message; returns False if the node has no session here."""
        session = self._term.sessions.get(node_id) if self._term else None
        if session is None:
            return False
        session.send(message)
        return True

    def is_connected(self, node_id: str) -> bool:
        """Whether the node has a session here."""
        return self._term is not None and node_id in self._term.sessions

    async def Session(self, _requests: Any, context: Any) -> None:
        term = self._term
        if term is None:
            await abort_not_leader(context, self._other_leader_addr())
            return
        peer = peer_of(context)
        try:
            await self._serve(term, peer.node_id, context)
        except* NotLeaderError as errors:
            failure: BaseException = errors
        except* CoveyError as errors:
            failure = errors
        else:
            return
        error = first_cause(failure)
        if isinstance(error, NotLeaderError):
            await abort_not_leader(context, self._other_leader_addr())
        await abort_with(context, error)

    async def PublishLogs(self, requests: AsyncIterator[dispatcher_pb2.LogBatch], context: Any) -> Any:
        await self._sink.publish(peer_of(context).node_id, requests)
        return dispatcher_pb2.PublishLogsResponse()

    async def LocateImage(self, request: dispatcher_pb2.LocateImageRequest, context: Any) -> Any:
        await self._require_term(context)
        return self._images.locate(peer_of(context).node_id, request)

    async def AuthorizeFetch(self, request: dispatcher_pb2.AuthorizeFetchRequest, context: Any) -> Any:
        await self._require_term(context)
        self._images.authorize(peer_of(context).node_id, request)
        return dispatcher_pb2.AuthorizeFetchResponse()

    async def AttachNetwork(self, request: dispatcher_pb2.AttachNetworkRequest, context: Any) -> Any:
        await self._require_term(context)
        return await attachments.attach(self._store, self._clock, peer_of(context).node_id, request)

    async def ServeTaskCall(self, requests: AsyncIterator[dispatcher_pb2.TaskCallPart], context: Any) -> None:
        await self._task_calls.serve(peer_of(context).node_id, requests, context)

    async def _require_term(self, context: Any) -> None:
        """Ends the call with the leader's address if this manager does not lead."""
        if self._term is None:
            await abort_not_leader(context, self._other_leader_addr())

    async def _serve(self, term: DispatcherTerm, node_id: str, context: Any) -> None:
        hello = await read_hello(context)
        session_id = new_id()
        await term.register_node(node_id, codec.from_wire(NodeDescription, hello.description), hello.addr)
        session = NodeSession(
            node_id,
            session_id,
            assignments=lambda: term.assignments.assignments_of(node_id),
            state=lambda: term.session_state_of(node_id, session_id),
            on_message=lambda: term.record_heartbeat(node_id),
            on_description=lambda description: term.update_description(node_id, description),
            on_statuses=lambda statuses: term.statuses.report(node_id, statuses),
            on_images=lambda report: self._images.report(node_id, report),
            on_fetch_result=lambda result: self._images.finish_fetch(node_id, result),
            on_network_check=lambda result: self._network_checks.finish(node_id, result),
            on_task_usages=lambda usages: self._task_usages(node_id, usages),
            on_log_tails=lambda tails: self._sink.keep_tails(node_id, tails),
        )
        term.add_session(session)
        self._network_checks.ask_again(node_id)
        log.info("node %s began session %s", node_id, session_id)
        try:
            await session.run(context)
        finally:
            if term.remove_session(session):
                self._images.forget(node_id)
                self._network_checks.forget(node_id)
            log.info("node %s ended session %s", node_id, session_id)


def monotonic_wall_clock() -> Clock:
    """A clock that starts at the time of day and then advances monotonically, so that setting the clock takes no node down."""
    offset = wall_clock() - time.monotonic_ns()
    return lambda: time.monotonic_ns() + offset


__all__ = ["Dispatcher", "LogSink"]
