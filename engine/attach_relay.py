"""Relay between a client's connection and a process's stdio, for ``docker attach`` and ``docker exec``.

Invariant: each direction holds one piece at a time, so a slow side slows the other down and no buffer grows.
"""

import asyncio
from typing import Protocol

from agent.container.api import Stream
from covey.detach_keys import DetachKeyMatcher
from covey.task_group import TaskGroup
from engine.streams import STDERR, frame

EXIT_SECONDS = 10.0
HANGUP_SECONDS = 1.0


class ClientConnection(Protocol):
    """A hijacked connection or a WebSocket."""

    async def read(self) -> bytes:
        """The next bytes from the client; empty at the end of its input. ConnectionError once it has disconnected."""
        ...

    async def write(self, data: bytes) -> None: ...
    def hung_up(self) -> bool:
        """Whether the client has gone and will read no more."""
        ...

    def close(self) -> None: ...


class _RelayEnded(Exception):  # noqa: N818 - ends the group of tasks; it is not an error
    """The relay has ended: the process exited, or the client disconnected."""


class _Detached(_RelayEnded):
    """The client typed the detach keys."""


async def relay(
    client: ClientConnection,
    stream: Stream,
    *,
    tty: bool,
    keys: DetachKeyMatcher | None,
    stdin: bool,
    stdout: bool = True,
    stderr: bool = True,
    framed: bool = True,
) -> bool:
    """Relay until the output ends and the exit code is known, the client detaches, or the client disconnects.

    Returns whether the client detached. Without a TTY the output is `framed`, unless the client reads raw bytes.
    """
    detached = False
    try:
        async with TaskGroup() as group:
            group.create_task(_input(client, stream if stdin else None, keys if tty else None))
            group.create_task(_output(client, stream, framed=framed and not tty, enabled=(stdout, stderr)))
    except* _Detached:
        detached = True
    except* (_RelayEnded, ConnectionError):
        pass
    finally:
        await stream.close()
        client.close()
    return detached


async def _output(client: ClientConnection, stream: Stream, *, framed: bool, enabled: tuple[bool, bool]) -> None:
    while (item := await stream.read()) is not None:
        number, data = item
        if enabled[1 if number == STDERR else 0]:
            await client.write(frame(number, data) if framed else data)
    try:
        async with asyncio.timeout(EXIT_SECONDS):
            await stream.wait()
    except TimeoutError:
        pass
    raise _RelayEnded


async def _input(client: ClientConnection, stream: Stream | None, keys: DetachKeyMatcher | None) -> None:
    """Relay input until the client closes it. The process sees the end of its input; its output continues while the client is there.

    Without a stream the input is read and dropped.
    """
    while data := await client.read():
        detached = False
        if stream is not None and keys is not None:
            data, detached = keys.feed(data)
        if stream is not None and data:
            await stream.write(data)
        if detached:
            raise _Detached
    if stream is not None:
        await stream.close_stdin()
    while not client.hung_up():  # noqa: ASYNC110 - a half-closed connection says nothing when its other half goes
        await asyncio.sleep(HANGUP_SECONDS)
    raise _RelayEnded
