"""Task calls: relays an exec or a copy between the daemon of this manager and the node of a task, wherever it is.

The daemon calls ``CallTask`` on its own manager. The manager has the leader ask the node, and the node connects to this manager with
``ServeTaskCall``. So data passes no other manager, and a change of leader does not touch a call that runs.

Invariant: a relay holds one part in each direction, so a slow end slows the other down. A call ends when its caller, its node or this
manager goes, and the ends that are left are told why.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from grpc import aio

from covey.display_name import display_name
from covey.errors import (
    ConflictError,
    CoveyError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from covey.grpc_errors import error_from_status
from covey.ids import new_id
from covey.objects import Task
from covey.states import NodeState
from covey.task_group import TaskGroup
from coveypb.v1 import control_pb2, control_pb2_grpc, dispatcher_pb2
from manager.store import Store

log = logging.getLogger(__name__)

SendCallback = Callable[[str, dispatcher_pb2.ManagerMessage], bool]
Dial = Callable[[str], aio.Channel]
Parts = AsyncIterator[dispatcher_pb2.TaskCallPart]

MAX_CALLS = 256
OPEN_SECONDS = 10.0
_ASK_AGAIN_SECONDS = 2.0
_RETRY_SECONDS = 0.1
_ASK_SECONDS = 3.0
_WATCH_SECONDS = 0.5


class _CallerGoneError(Exception):
    """The daemon has ended the call."""


class _Relay:
    """One call. ``caller`` and, once it has joined, ``node`` are where parts are written to."""

    def __init__(self, task: Task, caller: Any) -> None:
        self.task = task
        self.caller = caller
        self.node: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.caller_gone = asyncio.Event()
        self.node_ended = asyncio.Event()
        self.is_complete = False


class TaskCalls:
    """One per manager process. ``addr`` is HOST:PORT at which nodes reach this manager."""

    def __init__(self, store: Store, addr: str) -> None:
        self._store = store
        self._addr = addr
        self._send: SendCallback = lambda _node, _message: False
        self._dial: Dial | None = None
        self._relays: dict[str, _Relay] = {}

    @property
    def running(self) -> int:
        """Number of calls that are relayed at the moment."""
        return len(self._relays)

    def bind(self, send: SendCallback, dial: Dial) -> None:
        """Sets how to reach nodes and other managers: ``send`` returns False for a node without a session here."""
        self._send = send
        self._dial = dial

    def open(self, node_id: str, call: dispatcher_pb2.OpenTaskCall) -> None:
        """Asks a node to take a call. On the leader. Raises UnavailableError for a node without a session."""
        if not self._send(node_id, dispatcher_pb2.ManagerMessage(open_task_call=call)):
            raise UnavailableError("the node of the task has no session with the leader")

    async def call(self, requests: Parts, context: Any) -> None:
        """Relays one call of the daemon to its end.

        Raises:
            NotFoundError: no such task; ConflictError: it has no node yet; UnavailableError: its node is down, does not answer, or went
                away, or there are too many calls.
        """
        parts = aiter(requests)
        first = await anext(parts, dispatcher_pb2.TaskCallPart())
        task = self._store.view().tasks.find(first.task_id)
        self._require_reachable(task)
        if len(self._relays) >= MAX_CALLS:
            raise UnavailableError(f"this manager relays {MAX_CALLS} calls of tasks already; try again later")
        call_id = new_id()
        relay = self._relays[call_id] = _Relay(task, context)
        try:
            node = await self._join(relay, call_id)
            await node.write(first)
            async with TaskGroup() as group:
                others = [
                    group.create_task(_pass_on(parts, node, relay)),
                    group.create_task(self._end_when_down(relay)),
                ]
                await relay.node_ended.wait()
                for other in others:
                    other.cancel()
            if not relay.is_complete:
                raise UnavailableError(
                    f"lost {self._node_name(task)}, which runs {display_name(task)}, during the call"
                )
        finally:
            del self._relays[call_id]
            relay.caller_gone.set()

    async def serve(self, node_id: str, requests: Parts, context: Any) -> None:
        """Takes a node's end of a call, and relays what it sends.

        Raises:
            NotFoundError: nobody waits for it (any more); PermissionDeniedError: the call is of another node's task.
        """
        parts = aiter(requests)
        first = await anext(parts, dispatcher_pb2.TaskCallPart())
        relay = self._relays.get(first.call_id)
        if relay is None or relay.node.done():
            raise NotFoundError("no caller waits for this call of a task")
        if relay.task.node_id != node_id:
            raise PermissionDeniedError(f"task {relay.task.id} is not on node {node_id}")
        relay.node.set_result(context)
        is_gone = False
        try:
            async with TaskGroup() as group:
                leaving = group.create_task(_raise_when_gone(relay))
                async for part in parts:
                    await _write_to_caller(relay, part)
                    relay.is_complete = part.done
                leaving.cancel()
        except* _CallerGoneError:
            is_gone = True
        finally:
            relay.node_ended.set()
        if is_gone:
            raise UnavailableError("the caller has gone")

    def _require_reachable(self, task: Task) -> None:
        if not task.node_id:
            raise ConflictError(f"{display_name(task)} is not on a node yet: it is {task.status.state.name.lower()}")
        node = self._store.view().nodes.get(task.node_id)
        if node is None or node.status.state is NodeState.DOWN:
            state = "is down" if node is not None else "was removed from the cluster"
            raise UnavailableError(f"{self._node_name(task)}, which has {display_name(task)}, {state}")

    async def _join(self, relay: _Relay, call_id: str) -> Any:
        """Asks the node until it has joined. A message that is lost with a session, or with a leader, is sent again."""
        call = dispatcher_pb2.OpenTaskCall(call_id=call_id, task_id=relay.task.id, addr=self._addr)
        failure: CoveyError = UnavailableError("it did not answer")
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                while True:
                    try:
                        await self._ask(relay.task.node_id, call)
                        pause_seconds = _ASK_AGAIN_SECONDS
                    except UnavailableError as error:
                        failure, pause_seconds = error, _RETRY_SECONDS
                    await asyncio.wait((relay.node,), timeout=pause_seconds)
                    if relay.node.done():
                        return relay.node.result()
        except TimeoutError:
            name = self._node_name(relay.task)
            raise UnavailableError(
                f"{name}, which runs {display_name(relay.task)}, did not take the call within {OPEN_SECONDS:g} s: {failure.message}"
            ) from None

    async def _ask(self, node_id: str, call: dispatcher_pb2.OpenTaskCall) -> None:
        leadership = self._store.consensus.leadership
        if leadership.is_leader:
            self.open(node_id, call)
            return
        if self._dial is None or not leadership.leader_addr:
            raise UnavailableError("the cluster has no leader at the moment")
        stub: Any = control_pb2_grpc.ControlStub(self._dial(leadership.leader_addr))
        request = control_pb2.OpenTaskCallRequest(node_id=node_id, call=call)
        try:
            await stub.OpenTaskCall(request, timeout=_ASK_SECONDS)
        except aio.AioRpcError as error:
            failure = error_from_status(error.code().name, error.details() or "", error.trailing_metadata())
            raise UnavailableError(f"the leader did not pass the call on: {failure.message}") from error

    async def _end_when_down(self, relay: _Relay) -> None:
        """Ends a call whose node the cluster has given up: its connection may look alive for longer."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            node = self._store.view().nodes.get(relay.task.node_id)
            if node is None or node.status.state is NodeState.DOWN:
                relay.node_ended.set()

    def _node_name(self, task: Task) -> str:
        node = self._store.view().nodes.get(task.node_id)
        return f"node {display_name(node) if node is not None else task.node_id}"


async def _pass_on(parts: Parts, node: Any, relay: _Relay) -> None:
    try:
        async for part in parts:
            await node.write(part)
    except Exception as error:  # gRPC raises many kinds for a stream that has ended
        log.debug("the node's end of a task call is closed: %r", error)
        relay.node_ended.set()


async def _write_to_caller(relay: _Relay, part: dispatcher_pb2.TaskCallPart) -> None:
    try:
        await relay.caller.write(part)
    except Exception as error:  # as above
        raise _CallerGoneError from error


async def _raise_when_gone(relay: _Relay) -> None:
    await relay.caller_gone.wait()
    raise _CallerGoneError
