"""Leadership transfer: hands leadership to another manager and waits until it leads (thesis, section 3.10).

Called by `manager.raft.node.RaftNode` before a manager stops, and before a leader is removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from covey.errors import DeadlineError, UnavailableError
from manager.raft.core import NO_PEER, RawNode
from manager.raft.driver import RaftDriver
from manager.raft.membership import transfer_target

TRANSFER_SECONDS = 3.0


async def transfer_leadership(driver: RaftDriver, among: Collection[str] | None = None) -> None:
    """Hands leadership to the most advanced follower, among the given nodes if any; returns when this node follows it.
    Does nothing on a follower or a single manager.

    Raises:
        UnavailableError: none of them is reachable; DeadlineError: nobody took over.
    """
    status = driver.status()
    if not driver.leadership.value.is_leader or len(status.conf_state.voters) == 1:
        return
    members = driver.applied.members.values()
    target = transfer_target(status, [m.raft_id for m in members if among is None or m.node_id in among])
    if target is None:
        raise UnavailableError("no other manager that could lead is reachable")

    def transfer(node: RawNode) -> None:
        node.transfer_leader(target)

    try:
        async with asyncio.timeout(TRANSFER_SECONDS):
            with driver.leadership.subscribe() as changes:
                driver.call(transfer)
                async for leadership in changes:
                    if not leadership.is_leader and leadership.leader_id not in (NO_PEER, driver.id):
                        return
    except TimeoutError:
        raise DeadlineError(f"no other manager took over leadership within {TRANSFER_SECONDS:.0f} s") from None
