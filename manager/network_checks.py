"""Checks of the cluster's network state: the leader asks the nodes how their kernels differ from what is wanted.

Invariant: the answer names every node of the cluster; one that is not READY, or that does not answer in time, with the reason.
Called by ``manager.dispatcher`` and ``manager.control``.
"""

import asyncio
from collections.abc import Callable, Collection

from covey.errors import InvalidArgumentError, UnavailableError
from covey.ids import new_id
from covey.objects import Node
from covey.states import NodeState
from coveypb.v1 import control_pb2, dispatcher_pb2
from manager.store import Store

SendCallback = Callable[[str, dispatcher_pb2.ManagerMessage], bool]

MAX_CONCURRENT_CHECKS = 8
MAX_READ_NODES = 4
MAX_READ_NAMESPACES = 100


class NetworkChecks:
    """One per manager process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._send: SendCallback = lambda _node_id, _message: False
        self._checks: dict[str, dict[str, asyncio.Future[dispatcher_pb2.NetworkCheckResult]]] = {}
        self._messages: dict[str, dispatcher_pb2.ManagerMessage] = {}

    def bind(self, send: SendCallback) -> None:
        """Sets how to reach nodes: ``send`` returns False for a node without a session."""
        self._send = send

    def finish(self, node_id: str, result: dispatcher_pb2.NetworkCheckResult) -> None:
        """Takes the answer of a node."""
        waiting = self._checks.get(result.check_id, {}).get(node_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(result)

    def ask_again(self, node_id: str) -> None:
        """The node has a new session. What was sent into the one before may be lost with it, so the node is asked again."""
        for check_id, nodes in self._checks.items():
            if (waiting := nodes.get(node_id)) is not None and not waiting.done():
                self._send(node_id, self._messages[check_id])

    def forget(self, node_id: str) -> None:
        """The node's session has ended, and it has no other."""
        for nodes in self._checks.values():
            if (waiting := nodes.get(node_id)) is not None and not waiting.done():
                waiting.set_result(_failed("lost its session with the manager while it checked its networks"))

    async def check(
        self,
        *,
        seconds: float,
        repair: bool = False,
        node_ids: Collection[str] = (),
        namespaces: Collection[str] = (),
    ) -> control_pb2.CheckNetworksResponse:
        """Makes READY nodes check their networks, or say what they hold in ``namespaces``, and waits at most ``seconds`` for all of
        them together. Without ``node_ids`` all nodes are asked.

        Raises:
            InvalidArgumentError: the answer would be too large.
            UnavailableError: too many checks are in progress.
        """
        if namespaces and (not 0 < len(node_ids) <= MAX_READ_NODES or len(namespaces) > MAX_READ_NAMESPACES):
            raise InvalidArgumentError(
                f"the kernel's state can be read on 1 to {MAX_READ_NODES} nodes at a time, in at most {MAX_READ_NAMESPACES} namespaces"
            )
        if len(self._checks) >= MAX_CONCURRENT_CHECKS:
            raise UnavailableError(f"{MAX_CONCURRENT_CHECKS} checks of the networks are in progress; try again later")
        check_id, loop = new_id(), asyncio.get_running_loop()
        nodes = sorted(self._store.view().nodes, key=lambda node: (node.description.hostname, node.id))
        nodes = [node for node in nodes if not node_ids or node.id in node_ids]
        waiting = {node.id: loop.create_future() for node in nodes}
        self._checks[check_id] = waiting
        request = dispatcher_pb2.CheckNetworks(check_id=check_id, repair=repair, namespaces=sorted(namespaces))
        message = self._messages[check_id] = dispatcher_pb2.ManagerMessage(check_networks=request)
        try:
            for node in nodes:
                if node.status.state is not NodeState.READY:
                    waiting[node.id].set_result(_failed(f"is {node.status.state.name.lower()}"))
                elif not self._send(node.id, message):
                    waiting[node.id].set_result(_failed("is not connected"))
            if waiting:
                await asyncio.wait(waiting.values(), timeout=seconds)
        finally:
            del self._checks[check_id], self._messages[check_id]
        late = _failed(f"did not answer within {seconds:.0f} s")
        return control_pb2.CheckNetworksResponse(
            nodes=[_entry(node, waiting[node.id].result() if waiting[node.id].done() else late) for node in nodes]
        )


def _failed(error: str) -> dispatcher_pb2.NetworkCheckResult:
    return dispatcher_pb2.NetworkCheckResult(error=error)


def _entry(node: Node, result: dispatcher_pb2.NetworkCheckResult) -> control_pb2.NodeNetworkCheck:
    entry = control_pb2.NodeNetworkCheck(node_id=node.id, hostname=node.description.hostname, result=result)
    entry.result.ClearField("check_id")
    return entry
