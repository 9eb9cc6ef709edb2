"""Runs the layer process of a pull: hands it layers, tells it how far their blobs can be read, and awaits each layer.

Invariant: leaving the block kills the process and waits for it.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from agent.image.registry.layer_protocol import LayerCommand, LayerMessage, LayerTask
from covey import errors
from covey.task_group import TaskGroup

LINE_LIMIT_BYTES = 1 << 20
SYNC_SECONDS = 600


class LayerProcess:
    """One process. `on_read` gets the number of a layer and how many of its compressed bytes were unpacked."""

    def __init__(self, process: asyncio.subprocess.Process, on_read: Callable[[int, int], None]) -> None:
        self._process = process
        self._on_read = on_read
        self._layers: dict[int, asyncio.Future[int]] = {}
        self._synced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure: errors.CoveyError | None = None

    def add(self, task: LayerTask) -> None:
        """Unpack a layer after those before it."""
        self._layers[task.number] = asyncio.get_running_loop().create_future()
        self._send(LayerCommand(task=task))
        if self._failure is not None:
            self._layers[task.number].set_exception(self._failure)

    def readable(self, number: int, size: int) -> None:
        """The first `size` bytes of the layer's blob can be read."""
        self._send(LayerCommand(number=number, readable_bytes=size))

    def lowers_unpacked(self, number: int) -> None:
        """The layers below this one are unpacked."""
        self._send(LayerCommand(number=number, lowers_unpacked=True))

    async def unpacked(self, number: int) -> int:
        """Wait until the layer is unpacked. Returns its content's size. Raises the process's CoveyError."""
        return await self._layers[number]

    async def sync(self, folder: Path) -> None:
        """Wait until everything below the folder is on the disk, and end the process."""
        self._send(LayerCommand(sync=str(folder)))
        async with asyncio.timeout(SYNC_SECONDS):
            await self._synced

    async def read_messages(self) -> None:
        """Read the process's messages until it ends. Waiters get its error."""
        output = self._process.stdout
        decoder = msgspec.json.Decoder(LayerMessage)
        if output is not None:
            async for line in output:
                self._handle(decoder.decode(line))
        status = await self._process.wait()
        self._fail(errors.CoveyError(f"the layer process ended early with status {status}"))

    def _handle(self, message: LayerMessage) -> None:
        if message.error:
            self._fail(getattr(errors, message.error_kind, errors.CoveyError)(message.error))
        elif message.synced:
            self._synced.set_result(None)
        elif message.unpacked:
            self._layers[message.number].set_result(message.content_bytes)
        else:
            self._on_read(message.number, message.read_bytes)

    def _fail(self, failure: errors.CoveyError) -> None:
        self._failure = self._failure or failure
        waiters: list[asyncio.Future[int] | asyncio.Future[None]] = [*self._layers.values(), self._synced]
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(self._failure)
                waiter.exception()  # a layer that nobody awaits must not be warned about

    def _send(self, command: LayerCommand) -> None:
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(msgspec.json.encode(command) + b"\n")


@asynccontextmanager
async def layer_process(on_read: Callable[[int, int], None]) -> AsyncIterator[LayerProcess]:
    """A running layer process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent.image.registry.layer_worker",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        limit=LINE_LIMIT_BYTES, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    layers = LayerProcess(process, on_read)
    try:
        async with TaskGroup() as group:
            reader = group.create_task(layers.read_messages())
            yield layers
            reader.cancel()
    except BaseExceptionGroup as group_error:
        raise errors.first_cause(group_error) from None
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
