"""Checks of this host's network state that a manager asks for: a queue of requests, and their results on the wire.

Invariant: one check at a time. A result is bounded in number and length, so that it always fits into a message.
"""

import asyncio
from collections.abc import Sequence

from agent.session.interfaces import DroppedPackets, NetworkDifference, NetworksPort
from covey.errors import CoveyError
from coveypb.v1 import dispatcher_pb2

MAX_WAITING_CHECKS = 8
MAX_DIFFERENCES = 1000
MAX_TEXT = 1000
CHECK_SECONDS = 30.0


class NetworkCheckQueue:
    """One per session stream."""

    def __init__(self, networks: NetworksPort) -> None:
        self._networks = networks
        self._requests: asyncio.Queue[dispatcher_pb2.CheckNetworks] = asyncio.Queue(MAX_WAITING_CHECKS)

    def add(self, request: dispatcher_pb2.CheckNetworks) -> None:
        """Take a request. One that comes while too many wait replaces the oldest, whose caller has given up soonest."""
        if self._requests.full():
            self._requests.get_nowait()
        self._requests.put_nowait(request)

    async def next_result(self) -> dispatcher_pb2.NetworkCheckResult:
        """Wait for a request and carry it out."""
        request = await self._requests.get()
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                if request.namespaces:
                    reading = await self._networks.read(request.namespaces)
                    return dispatcher_pb2.NetworkCheckResult(check_id=request.check_id, reading=reading)
                found = await (self._networks.repair() if request.repair else self._networks.verify())
                remaining = await self._networks.verify() if request.repair else ()
                dropped = await self._networks.dropped_packets()
        except TimeoutError:
            error = f"the network state could not be read within {CHECK_SECONDS:.0f} s"
            return dispatcher_pb2.NetworkCheckResult(check_id=request.check_id, error=error)
        except CoveyError as failure:
            return dispatcher_pb2.NetworkCheckResult(check_id=request.check_id, error=str(failure)[:MAX_TEXT])
        return _result(request.check_id, found, remaining, dropped)


def _result(
    check_id: str,
    found: Sequence[NetworkDifference],
    remaining: Sequence[NetworkDifference],
    dropped: DroppedPackets,
) -> dispatcher_pb2.NetworkCheckResult:
    return dispatcher_pb2.NetworkCheckResult(
        check_id=check_id,
        differences=[_wire(one) for one in found[:MAX_DIFFERENCES]],
        remaining=[_wire(one) for one in remaining[:MAX_DIFFERENCES]],
        omitted=max(len(found) - MAX_DIFFERENCES, 0),
        dropped_strangers=dropped.strangers,
        dropped_unknown=dropped.unknown,
    )


def _wire(one: NetworkDifference) -> dispatcher_pb2.NetworkDifference:
    return dispatcher_pb2.NetworkDifference(
        namespace=one.namespace,
        kind=one.kind,
        item=one.item[:MAX_TEXT],
        wanted=one.wanted[:MAX_TEXT],
        found=one.found[:MAX_TEXT],
    )
