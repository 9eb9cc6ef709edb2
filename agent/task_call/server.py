"""Serves calls of this node's tasks: connects to the manager that relays a call, carries it out, and sends the answer.

Invariant: a call reaches the container of its task and nothing else of the host. It does not depend on the session with the leader, so it
survives a change of leader. It ends when its caller, its manager or its process ends. Called by ``agent.session``.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any

from grpc import aio

from agent.container.api import Containers, Stream
from agent.container.model import Container, ExecState, RunStatus
from agent.identity import IdentityStore
from agent.task_call.connection import TaskCallConnection
from agent.task_call.model import (
    ExecCreate,
    ExecInspect,
    ExecResize,
    ExecStart,
    ExecStatus,
    ReadPath,
    StatPath,
    TaskRequest,
    WritePath,
)
from covey.errors import CoveyError, NotFoundError, UnavailableError
from covey.task_group import TaskGroup
from coveypb.v1 import dispatcher_pb2, dispatcher_pb2_grpc

log = logging.getLogger(__name__)

MAX_CALLS = 64
BEGIN_SECONDS = 10.0
EXIT_SECONDS = 10.0
CLOSE_SECONDS = 30.0


class _CallerGoneError(Exception):
    """The caller has gone; its process goes on without it, as after a lost terminal."""


class TaskCallServer:
    """One per agent."""

    def __init__(self, identities: IdentityStore, containers: Containers) -> None:
        self._identities = identities
        self._containers = containers
        self._running = 0

    async def serve(self, request: dispatcher_pb2.OpenTaskCall) -> None:
        """Serves one call to its end. Failures go to the caller; what cannot be sent is logged."""
        self._running += 1
        try:
            async with self._identities.require().channel(request.addr) as channel:
                stub: Any = dispatcher_pb2_grpc.DispatcherStub(channel)
                call = stub.ServeTaskCall()
                try:
                    await self._answer(TaskCallConnection(call), request)
                finally:
                    call.cancel()
        except* (aio.AioRpcError, CoveyError, OSError, TimeoutError, asyncio.InvalidStateError) as errors:
            log.debug("call %s of task %s ended: %r", request.call_id, request.task_id, errors.exceptions[0])
        except* Exception:  # supervision: a call that goes wrong must not end the node's session
            log.exception("call %s of task %s failed", request.call_id, request.task_id)
        finally:
            self._running -= 1

    async def _answer(self, connection: TaskCallConnection, request: dispatcher_pb2.OpenTaskCall) -> None:
        async with asyncio.timeout(BEGIN_SECONDS):
            asked = await connection.begin(request.call_id)
        try:
            if self._running > MAX_CALLS:
                raise UnavailableError(f"the node of the task serves {MAX_CALLS} calls already; try again later")
            await self._carry_out(self._container_of(request.task_id), asked, connection)
        except CoveyError as error:
            await connection.fail(error)
        except _CallerGoneError:
            return
        async with asyncio.timeout(CLOSE_SECONDS):
            await connection.close()

    async def _carry_out(self, container: Container, asked: TaskRequest, connection: TaskCallConnection) -> None:
        containers = self._containers
        match asked:
            case ExecCreate():
                await connection.result(await containers.exec_create(container.id, asked.config))
            case ExecInspect():
                paused = container.state.status is RunStatus.PAUSED
                state = self._exec_of(container, asked.exec_id)
                await connection.result(ExecStatus(state, running=container.state.running, paused=paused))
            case ExecResize():
                await containers.exec_resize(self._exec_of(container, asked.exec_id).id, asked.height, asked.width)
                await connection.result()
            case ExecStart():
                exec_id = self._exec_of(container, asked.exec_id).id
                stream = await containers.exec_start(exec_id, detach=asked.detach, size=asked.size)
                await connection.result()
                if stream is not None:
                    await _relay(stream, connection)
            case StatPath():
                await connection.result(await containers.stat_path(container.id, asked.path))
            case ReadPath():
                async with containers.read_path(container.id, asked.path) as (found, archive):
                    await connection.result(found)
                    async for chunk in archive.chunks():
                        await connection.data(chunk)
                    await connection.end()
            case WritePath():
                await containers.write_path(
                    container.id,
                    asked.path,
                    connection.input(),
                    keep_kinds=asked.keep_kinds,
                    as_user=asked.as_user,
                )
                await connection.result()

    def _container_of(self, task_id: str) -> Container:
        found = [item for item in self._containers.list() if item.config.task_id == task_id]
        if not found:
            raise NotFoundError(
                f"task {task_id} has no container on its node; it may be starting, or have been removed"
            )
        return found[0]

    def _exec_of(self, container: Container, exec_id: str) -> ExecState:
        state = self._containers.exec_inspect(exec_id)
        if state.container_id != container.id:
            raise NotFoundError(f"No such exec instance: {exec_id}")
        return state


async def _relay(stream: Stream, connection: TaskCallConnection) -> None:
    """Relays until the output has ended and the exit code is known. Raises _CallerGoneError if the caller goes before."""
    is_gone = False
    try:
        async with TaskGroup() as group:
            taking = group.create_task(_take_input(stream, connection))
            while (item := await stream.read()) is not None:
                await connection.data(item[1], stream=item[0])
            with suppress(TimeoutError):
                async with asyncio.timeout(EXIT_SECONDS):
                    await stream.wait()
            await connection.end()
            async with asyncio.timeout(CLOSE_SECONDS):
                await connection.close()
            taking.cancel()  # only now: gRPC cancels the whole call when a read of it is cancelled
    except* _CallerGoneError:
        is_gone = True
    finally:
        await stream.close()
    if is_gone:
        raise _CallerGoneError


async def _take_input(stream: Stream, connection: TaskCallConnection) -> None:
    while (part := await connection.read()) is not None:
        if part.data:
            await stream.write(part.data)
        if part.end:
            await stream.close_stdin()
    raise _CallerGoneError
