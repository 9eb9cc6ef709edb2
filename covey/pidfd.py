"""Waiting for the end of a process by its pidfd on the asyncio loop: no thread, no signal handler."""

import asyncio


async def wait_pidfd(pidfd: int) -> None:
    """Wait until the process has ended."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def ended() -> None:
        loop.remove_reader(pidfd)
        if not done.done():
            done.set_result(None)

    loop.add_reader(pidfd, ended)
    try:
        await done
    finally:
        loop.remove_reader(pidfd)
