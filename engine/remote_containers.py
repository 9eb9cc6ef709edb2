"""Containers of tasks on other nodes: execs and files, through calls that this node's manager relays.

Invariant: one part at a time in each direction, and gRPC makes the writer wait. What fails on the node, on the way, or by the loss of the
node is raised, or ends the output with its sentence. Called by ``engine.exec_host`` and ``engine.routes.task_files``.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc
import msgspec

from agent.container.model import ExecConfig
from agent.filesystem.protocol import PathStat
from agent.task_call.model import (
    PART_BYTES,
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
from covey.errors import DeadlineError, UnavailableError
from covey.grpc_errors import error_from_kind
from covey.task_group import TaskGroup
from coveypb.v1 import dispatcher_pb2
from engine.control_channel import error_from_rpc
from engine.control_client import ControlClient
from engine.streams import STDERR, STDOUT

ANSWER_SECONDS = 60.0
T = TypeVar("T")


class TaskCall:
    """One open call."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def send(self, **fields: Any) -> None:
        try:
            await self._call.write(dispatcher_pb2.TaskCallPart(**fields))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise await self._failure() from None

    async def read(self) -> dispatcher_pb2.TaskCallPart | None:
        """The next part; None at the end. Raises what failed on the node or on the way."""
        try:
            part = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
        if part is grpc.aio.EOF:
            if await self._call.code() is not grpc.StatusCode.OK:
                raise await self._failure()
            return None
        if part.done:
            return None
        if part.error:
            raise error_from_kind(part.error_kind, part.error)
        return part  # type: ignore[no-any-return]

    async def result(self, kind: type[T]) -> T:
        """The answer. DeadlineError if it does not come in time."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                part = await self.read()
        except TimeoutError:
            raise DeadlineError(f"the node of the task did not answer within {ANSWER_SECONDS:g} s") from None
        if part is None:
            raise UnavailableError("the node of the task ended the call without an answer")
        return msgspec.json.decode(part.result, type=kind)

    def cancel(self) -> None:
        self._call.cancel()

    async def _failure(self) -> Exception:
        error = grpc.aio.AioRpcError(
            await self._call.code(),
            await self._call.initial_metadata(),
            await self._call.trailing_metadata(),
            details=await self._call.details() or "the call of the task has ended",
        )
        return error_from_rpc(error)


class RemoteStream:
    """Input and output of an exec on another node, as ``agent.container.api.Stream``."""

    def __init__(self, call: TaskCall) -> None:
        self._call = call
        self._has_ended = False

    async def read(self) -> tuple[int, bytes] | None:
        """A call that fails gives its sentence as the last output, as there is no other way to tell the client by now."""
        if self._has_ended:
            return None
        try:
            part = await self._call.read()
        except Exception as error:
            self._has_ended = True
            return STDERR, f"\r\n{getattr(error, 'message', error)}\r\n".encode()
        if part is None or part.end:
            self._has_ended = True
            return None
        return part.stream or STDOUT, part.data

    async def write(self, data: bytes) -> None:
        """Input for a call that has failed is dropped; its output says why."""
        for start in range(0, len(data), PART_BYTES):
            await self._send(data=data[start : start + PART_BYTES])

    async def close_stdin(self) -> None:
        await self._send(end=True)

    async def wait(self) -> int:
        """Returns at once: the node ends the output when the exit code is known, and an inspect of the exec shows it."""
        return 0

    async def close(self) -> None:
        self._call.cancel()

    async def _send(self, **fields: Any) -> None:
        try:
            await self._call.send(**fields)
        except Exception:
            if not self._has_ended:
                return


class RemoteContainer:
    """The container of one task."""

    def __init__(self, control: ControlClient, task_id: str) -> None:
        self._control = control
        self._task_id = task_id

    async def exec_create(self, config: ExecConfig) -> str:
        return await self._ask(ExecCreate(config), str)

    async def exec_inspect(self, exec_id: str) -> ExecStatus:
        return await self._ask(ExecInspect(exec_id), ExecStatus)

    async def exec_resize(self, exec_id: str, height: int, width: int) -> None:
        await self._ask(ExecResize(exec_id, height, width), type(None))

    async def exec_start(
        self, exec_id: str, *, detach: bool = False, size: tuple[int, int] | None = None
    ) -> RemoteStream | None:
        """Run the exec; None when detached. Closing the stream ends the call."""
        call = await self._open(ExecStart(exec_id, size, detach))
        try:
            await call.result(type(None))
        except BaseException:
            call.cancel()
            raise
        if detach:
            call.cancel()
            return None
        return RemoteStream(call)

    async def stat_path(self, path: str) -> PathStat:
        return await self._ask(StatPath(path), PathStat)

    @asynccontextmanager
    async def read_path(self, path: str) -> AsyncIterator[tuple[PathStat, AsyncIterator[bytes]]]:
        """What is at the path, and a tar of it."""
        call = await self._open(ReadPath(path))
        try:
            yield await call.result(PathStat), _tar(call)
        finally:
            call.cancel()

    async def write_path(
        self, path: str, source: AsyncIterator[bytes], *, keep_kinds: bool = False, as_user: bool = False
    ) -> None:
        """Unpack a tar below a directory."""
        call = await self._open(WritePath(path, keep_kinds, as_user))
        try:
            async with TaskGroup() as group:
                answer = group.create_task(_answer(call))
                sending = group.create_task(_send_all(call, source))
                await asyncio.wait((answer,))
                sending.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            call.cancel()

    async def _ask(self, request: TaskRequest, kind: type[T]) -> T:
        call = await self._open(request)
        try:
            return await call.result(kind)
        finally:
            call.cancel()

    async def _open(self, request: TaskRequest) -> TaskCall:
        call = TaskCall(await self._control.call_task())
        await call.send(task_id=self._task_id, request=msgspec.json.encode(request))
        return call


async def _tar(call: TaskCall) -> AsyncIterator[bytes]:
    while (part := await call.read()) is not None:
        if part.data:
            yield part.data
        if part.end:
            return
    raise UnavailableError("the node of the task ended the call before the end of the tar")


async def _answer(call: TaskCall) -> None:
    """Waits for the end of a copy. There is no deadline: the source may be slow; a lost node ends the call."""
    if await call.read() is None:
        raise UnavailableError("the node of the task ended the call without an answer")


async def _send_all(call: TaskCall, source: AsyncIterator[bytes]) -> None:
    async for data in source:
        for start in range(0, len(data), PART_BYTES):
            await call.send(data=data[start : start + PART_BYTES])
    await call.send(end=True)
