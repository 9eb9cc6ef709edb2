"""Relay between a client's hijacked connection and a process's stdio, for ``docker attach`` and ``docker exec``."""

import asyncio

from agent.container.api import Stream
from engine.detach_keys import DetachKeyMatcher
from engine.streams import STDERR, HijackedConnection, frame

EXIT_SECONDS = 10.0


class _RelayEnded(Exception):  # noqa: N818 - ends the group of tasks; it is no error
    """The session is over: the process has ended, or the client detached or is gone."""


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
    """Returns once the output has ended (and its exit code is known), the client detached, or the client is gone."""
    try:
        async with asyncio.TaskGroup() as group:
            if stdin:
                group.create_task(_input(client, stream, keys if tty else None))
            group.create_task(_output(client, stream, tty=tty, wanted=(stdout, stderr)))
    except* (_RelayEnded, ConnectionError):
        pass
    finally:
        await stream.close()
        client.close()


async def _output(client: HijackedConnection, stream: Stream, *, tty: bool, wanted: tuple[bool, bool]) -> None:
    while (item := await stream.read()) is not None:
        number, data = item
        if wanted[1 if number == STDERR else 0]:
            await client.write(data if tty else frame(number, data))
    try:
        async with asyncio.timeout(EXIT_SECONDS):
            await stream.wait()
    except TimeoutError:
        pass
    raise _RelayEnded


async def _input(client: HijackedConnection, stream: Stream, keys: DetachKeyMatcher | None) -> None:
    """Ends at the client's end of input, which the process is told; its output goes on."""
    while data := await client.read():
        detached = False
        if keys is not None:
            data, detached = keys.feed(data)
        if data:
            await stream.write(data)
        if detached:
            raise _RelayEnded
    await stream.close_stdin()
