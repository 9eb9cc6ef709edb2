"""Tail mirror: copies the kept tails of the leader to the other managers, so that they outlive the leader's host.

Invariant: a manager is sent each tail once, and all again when its process is another. A manager that does not answer costs a bounded
time and delays no other. One of the leader's loops; the servicer side runs on every manager.
"""

# ruff: noqa: N802 - gRPC names its methods so

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from grpc import aio

from covey.ids import new_id
from coveypb.v1 import dispatcher_pb2, dispatcher_pb2_grpc
from manager.logbroker.kept_tails import KeptTails
from manager.store import Store, View

log = logging.getLogger(__name__)

ROUND_SECONDS = 1.0
_CALL_SECONDS = 5.0
_PRUNE_ROUNDS = 60

Dial = Callable[[str], aio.Channel]


class TailMirror:
    """One per manager process. ``dial`` gives a channel to a manager's mTLS address, and owns it."""

    def __init__(self, store: Store, tails: KeptTails, node_id: str, dial: Dial) -> None:
        self._store = store
        self._tails = tails
        self._node_id = node_id
        self._dial = dial
        self._process_id = new_id()

    async def MirrorLogTails(self, request: dispatcher_pb2.LogTails, _context: Any) -> Any:
        """Takes tails from the leader."""
        for tail in request.tails:
            self._tails.put(tail)
        return dispatcher_pb2.MirrorLogTailsResponse(process_id=self._process_id)

    async def run(self) -> None:
        """Copies while this manager leads, until cancelled."""
        sent: dict[str, tuple[str, int]] = {}
        rounds = 0
        while True:
            view = self._store.view()
            if rounds % _PRUNE_ROUNDS == 0:
                self._tails.retain({task.id for task in view.tasks})
            rounds += 1
            others = other_managers(view, self._node_id)
            results = await asyncio.gather(*(self._send(addr, sent.get(addr, ("", 0))) for addr in others))
            sent = dict(zip(others, results, strict=True))
            await asyncio.sleep(ROUND_SECONDS)

    async def _send(self, addr: str, sent: tuple[str, int]) -> tuple[str, int]:
        """Sends what a manager lacks. Returns its process and the version that it has; nothing of both if that is unknown."""
        process_id, version = sent
        tails, newest = self._tails.since(version)
        if not tails:
            return sent
        stub: Any = dispatcher_pb2_grpc.LogTailMirrorStub(self._dial(addr))
        try:
            answer = await stub.MirrorLogTails(dispatcher_pb2.LogTails(tails=tails), timeout=_CALL_SECONDS)
        except aio.AioRpcError as error:
            log.debug("the manager at %s took no log tails: %s", addr, error.code().name)
            return "", 0
        if process_id and answer.process_id != process_id:
            return answer.process_id, 0
        return answer.process_id, newest


def other_managers(view: View, node_id: str) -> list[str]:
    """Addresses (HOST:PORT) of the other managers."""
    return [
        node.manager_status.addr
        for node in view.nodes
        if node.id != node_id and node.manager_status is not None and node.manager_status.addr
    ]
