"""Relay between a client's hijacked connection and a process's stdio, for ``docker attach`` and ``docker exec``."""

import asyncio

from agent.container.api import Stream
from covey.detach_keys import DetachKeyMatcher
from engine.streams import STDERR, HijackedConnection, frame

EXIT_SECONDS = 10.0


class _RelayEnded(Exception):  # noqa: N818 - ends the group of tasks; it is not an error
    """The relay has ended: the process exited, or the client detached or disconnected."""


async def relay(
    client: HijackedConnection,
    stream: Stream,
    *,
    tty: bool,
    keys: DetachKeyMatcher | None,
    stdin: bool,
    stdout: bool = True,
    stderr: bool = True,
) -> None:
    """Relay until the output ends and the exit code is known, the client detaches, or the client disconnects."""
    try:
        async with asyncio.TaskGroup() as group:
            if stdin:
                group.create_task(_input(client, stream, keys if tty else None))
            group.create_task(_output(client, stream, tty=tty, enabled=(stdout, stderr)))
    except* (_RelayEnded, ConnectionError):
        pass
    finally:
        await stream.close()
        client.close()


async def _output(client: HijackedConnection, stream: Stream, *, tty: bool, enabled: tuple[bool, bool]) -> None:
    while (item := await stream.read()) is not None:
        number, data = item
        if enabled[1 if number == STDERR else 0]:
            await client.write(data if tty else frame(number, data))
    try:
        async with asyncio.timeout(EXIT_SECONDS):
            await stream.wait()
    except TimeoutError:
        pass
    raise _RelayEnded


async def _input(client: HijackedConnection, stream: Stream, keys: DetachKeyMatcher | None) -> None:
    """Relay input until the client closes it. The process sees the end of its input; its output continues."""
    while data := await client.read():
        detached = False
        if keys is not None:
            data, detached = keys.feed(data)
        if data:
            await stream.write(data)
        if detached:
            raise _RelayEnded
    await stream.close_stdin()
