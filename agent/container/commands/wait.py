"""`docker wait`: the exit code of a container."""

from __future__ import annotations

from agent.container.host import ContainerHost
from covey.errors import InvalidArgumentError


async def wait_container(host: ContainerHost, ref: str, condition: str = "not-running") -> int:
    """The exit code once the condition holds: not-running, next-exit or removed."""
    record = host.index.find(ref)
    if condition == "removed":
        return await record.removal_waiters.wait()
    if condition == "next-exit":
        return await record.exit_waiters.wait()
    if condition not in {"", "not-running"}:
        raise InvalidArgumentError(f'invalid condition: "{condition}": use not-running, next-exit or removed')
    return await record.wait_for_exit()
