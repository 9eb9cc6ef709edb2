"""`docker wait`: the exit code of a container."""

from __future__ import annotations

import asyncio

from agent.container.host import ContainerHost
from covey.errors import InvalidArgumentError


def wait_container(host: ContainerHost, ref: str, condition: str = "not-running") -> asyncio.Future[int]:
    """A future of the exit code once the condition holds: not-running, next-exit or removed.

    The wait begins before this returns, so no exit after the call is missed.
    """
    record = host.index.find(ref)
    if condition == "removed":
        return record.removal_waiters.future()
    if condition == "next-exit" or (condition in {"", "not-running"} and record.state.active):
        return record.exit_waiters.future()
    if condition not in {"", "not-running"}:
        raise InvalidArgumentError(f'invalid condition: "{condition}": use not-running, next-exit or removed')
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    ended.set_result(record.state.exit_code)
    return ended
