"""Dispatcher term: the sessions, heartbeats and assignment cache of one leadership.

Invariant: everything here is forgotten when the leadership ends; what must last is in the store. The loops run in one task group.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Iterable

from covey import codec
from covey.clock import SECOND, Clock
from covey.errors import (
    CoveyError,
    InvalidArgumentError,
    LaggedError,
    NodeRemovedError,
    PreconditionError,
    UnavailableError,
)
from covey.objects import Cluster, Node, NodeDescription, NodeStatus, replace
from covey.states import NodeState
from covey.task_group import TaskGroup
from coveypb.v1 import dispatcher_pb2
from manager.dispatcher.assignment_cache import AssignmentCache
from manager.dispatcher.host_probe import HostProbe
from manager.dispatcher.node_session import NodeSession
from manager.dispatcher.session_state import session_state
from manager.dispatcher.status_writer import StatusWriter
from manager.health import (
    CHECK_INTERVAL_NS,
    HeartbeatTracker,
    demotion,
    has_never_joined,
    is_manager,
    plan_abandoned_joins,
    plan_node_states,
    removal,
)
from manager.loop import Step
from manager.store import Action, Change, Commit, NotLeaderError, Store, Tx

log = logging.getLogger(__name__)

MAX_DESCRIPTION_BYTES = 64 * 1024
_BATCH_SECONDS = 0.05
_CHECK_SECONDS = CHECK_INTERVAL_NS / SECOND
_MIN_CHECK_SECONDS = 0.01
_PAUSE_SECONDS = 0.5
_DEMOTION_SECONDS = 5.0
_DEMOTION_POLL_SECONDS = 0.05
_NEW_LEADER_PERIODS = 2
"""Extra heartbeat periods that a new leader grants every node: the agents need them to notice that the old leader is silent."""


class DispatcherTerm:
    """Created for each term in which this manager leads."""

    def __init__(self, store: Store, clock: Clock, recovery_grace_ends_ns: int = 0) -> None:
        """Until ``recovery_grace_ends_ns`` no node is expected: the cluster was just recovered, and its nodes search for it."""
        self.assignments = AssignmentCache(store.view())
        self.sessions: dict[str, NodeSession] = {}
        self.statuses = StatusWriter(store)
        self._store = store
        self._clock = clock
        self._recovery_grace_ends_ns = recovery_grace_ends_ns
        self._heartbeats = HeartbeatTracker(
            max(clock(), recovery_grace_ends_ns) + _NEW_LEADER_PERIODS * store.view().cluster.spec.heartbeat_period_ns
        )
        self._probe = HostProbe(store, self._heartbeats, clock)
        self._pending: list[Change] = []
        self._changes_pending = asyncio.Event()

    async def run(self) -> None:
        """Runs the loops of the term until cancelled."""
        async with TaskGroup() as group:
            group.create_task(self._follow_store(), name="dispatcher store")
            group.create_task(self._distribute_changes(), name="dispatcher assignments")
            group.create_task(self._watch_for_stalls(), name="dispatcher stalls")
            group.create_task(self._check_heartbeats(), name="dispatcher heartbeats")
            if self._clock() >= self._recovery_grace_ends_ns:
                group.create_task(self._probe.run(), name="dispatcher host probe")
            group.create_task(self.statuses.run(), name="dispatcher statuses")

    # --- sessions ---

    async def register_node(self, node_id: str, description: NodeDescription, addr: str) -> None:
        """Makes a node that said hello READY, and stores its description and address.

        Raises:
            NodeRemovedError: the cluster has no such node; InvalidArgumentError: what it says cannot be, or another node that
                is READY has the address; PreconditionError: its tunnels cannot reach those of the others.
        """
        _require_valid_description(description, addr)

        def ready(tx: Tx) -> None:
            node = self._node(tx.nodes.get(node_id), node_id)
            for other in self._silent_nodes_with_address(tx, node_id, addr):
                replaced = NodeStatus(
                    state=NodeState.DOWN,
                    addr=addr,
                    message=f"node {node_id} has its address now",
                    changed_at_ns=self._clock(),
                )
                tx.update(replace(other, status=replaced))
            _require_unused_address(tx, node_id, addr)
            _require_same_family(tx.nodes, node_id, description.data_path_addr or addr)
            status = node.status
            if status.state is not NodeState.READY or status.addr != addr:
                changed = status.changed_at_ns if status.state is NodeState.READY else self._clock()
                status = NodeStatus(state=NodeState.READY, addr=addr, changed_at_ns=changed)
            if (status, description) != (node.status, node.description):
                tx.update(replace(node, status=status, description=description))

        self.record_heartbeat(node_id)
        try:
            await self._store.update(ready)
        except PreconditionError:  # an address in use, InvalidArgumentError, may become free: the host keeps trying
            await self._forget_refused_join(node_id)
            raise

    async def _forget_refused_join(self, node_id: str) -> None:
        """Removes a node that the cluster does not take and that was never part of it. Its host gives up the join and its certificate.

        A manager is in the managers' group by then, and leaves it while it still runs: afterwards its vote might be missing for that.
        """
        node = self._store.view().nodes.get(node_id)
        if node is None or not has_never_joined(node):
            return
        try:
            if is_manager(node):
                await self._store.update(lambda tx: tx.update(demotion(self._node(tx.nodes.get(node_id), node_id))))
                async with asyncio.timeout(_DEMOTION_SECONDS):
                    node = await self._demoted(node_id)
            await self._store.update(removal(self._store.view(), node, self._clock()))
        except TimeoutError:
            log.warning("the managers' group keeps node %s, whose join was refused, for now", node_id)
        except CoveyError as error:
            log.info("node %s, whose join was refused, is removed later: %s", node_id, error.message)

    async def _demoted(self, node_id: str) -> Node:
        """The node, once the role manager has made it a worker."""
        while is_manager(node := self._node(self._store.view().nodes.get(node_id), node_id)):  # noqa: ASYNC110 - bounded by the caller
            await asyncio.sleep(_DEMOTION_POLL_SECONDS)
        return node

    def _silent_nodes_with_address(self, tx: Tx, node_id: str, addr: str) -> list[Node]:
        """After a recovery: nodes not heard of yet whose address another node has now, so their host is that other node."""
        if self._clock() >= self._recovery_grace_ends_ns:
            return []
        ready = [node for node in tx.nodes.by_address(addr) if node.status.state is NodeState.READY]
        return [node for node in ready if node.id != node_id and not self._heartbeats.has_heartbeat(node.id)]

    def add_session(self, session: NodeSession) -> None:
        """Makes this the session of its node and ends an earlier one."""
        previous = self.sessions.get(session.node_id)
        if previous is not None:
            previous.end(UnavailableError("a newer session of this node has begun"))
        self.sessions[session.node_id] = session
        self.record_heartbeat(session.node_id)

    def remove_session(self, session: NodeSession) -> bool:
        """Records the disconnect of a node whose session ended. Returns False if a newer one replaced it."""
        if self.sessions.get(session.node_id) is not session:
            return False
        del self.sessions[session.node_id]
        self.assignments.forget(session.node_id)
        self._heartbeats.record_disconnect(session.node_id, self._clock())
        return True

    def end_all(self, error: Exception) -> None:
        """Ends all sessions with this error."""
        for session in list(self.sessions.values()):
            session.end(error)

    def record_heartbeat(self, node_id: str) -> None:
        """Records that a message of the node arrived."""
        period_ns = self._store.view().cluster.spec.heartbeat_period_ns
        self._heartbeats.record_heartbeat(node_id, self._clock(), period_ns)

    async def update_description(self, node_id: str, description: NodeDescription) -> None:
        """Stores the description that a node sent within its session."""
        _require_valid_description(description, "")

        def apply(tx: Tx) -> None:
            node = self._node(tx.nodes.get(node_id), node_id)
            if node.description != description:
                tx.update(replace(node, description=description))

        await self._store.update(apply)

    def session_state_of(self, node_id: str, session_id: str) -> dispatcher_pb2.SessionState:
        """The current SessionState message for a node."""
        view = self._store.view()
        return session_state(view, view.cluster, self._node(view.nodes.get(node_id), node_id), session_id)

    def _node(self, node: Node | None, node_id: str) -> Node:
        if node is None:
            raise NodeRemovedError(f"node {node_id} was removed from the cluster; leave it on that host and join again")
        return node

    # --- loops ---

    async def _follow_store(self) -> None:
        while True:
            try:
                with self._store.watch() as (view, commits):
                    self.assignments.reset(view)
                    self._pending.clear()
                    self._wake_all()
                    async for commit in commits:
                        self._pending.extend(commit.changes)
                        self._grant_new_nodes_timeout(commit)
                        self._changes_pending.set()
            except LaggedError as error:
                log.info("the dispatcher restarts from a snapshot: %s", error.message)

    def _grant_new_nodes_timeout(self, commit: Commit) -> None:
        """Gives a node that has just joined the full timeout to begin a session."""
        for change in commit.changes:
            if change.action is Action.CREATE and isinstance(change.after, Node):
                self.record_heartbeat(change.after.id)

    async def _distribute_changes(self) -> None:
        """Wakes the sessions that commits affect. Waits briefly, so that a burst of commits is computed once."""
        while True:
            await self._changes_pending.wait()
            await asyncio.sleep(_BATCH_SECONDS)
            self._changes_pending.clear()
            changes, self._pending = self._pending, []
            for node_id in self.assignments.apply_changes(self._store.view(), changes):
                session = self.sessions.get(node_id)
                if session is not None:
                    session.wake()
            if any(_affects_all_sessions(change) for change in changes):
                self._wake_all()
            for change in changes:
                if isinstance(change.after, Node) and change.after.id in self.sessions:
                    self.sessions[change.after.id].wake_state()
                if change.after is None and isinstance(change.before, Node):
                    self._remove_node(change.before.id)

    def _remove_node(self, node_id: str) -> None:
        self._heartbeats.forget(node_id)
        session = self.sessions.get(node_id)
        if session is not None:
            session.end(NodeRemovedError(f"node {node_id} was removed from the cluster"))

    def _wake_all(self) -> None:
        for session in self.sessions.values():
            session.wake_state()

    async def _watch_for_stalls(self) -> None:
        """Notices a stall of this process also while ``_check_heartbeats`` waits for the store."""
        while True:
            self._record_check()
            await asyncio.sleep(_CHECK_SECONDS)

    def _record_check(self) -> int:
        """The time now. If this process was stalled, no node is judged by the heartbeats that it could not receive."""
        now_ns = self._clock()
        stall_ns = self._heartbeats.record_check(now_ns)
        if stall_ns:
            log.warning("this manager was stalled for %.1f s: the heartbeat deadlines are extended", stall_ns / SECOND)
        return now_ns

    async def _check_heartbeats(self) -> None:
        due_ns = 0
        while True:
            await asyncio.sleep(self._seconds_to_check(due_ns))
            now_ns = self._record_check()
            view = self._store.view()
            states = plan_node_states(view, self._heartbeats, now_ns)
            due_ns = states.wake_at_ns
            found = (*states.steps, *plan_abandoned_joins(view, self._heartbeats, now_ns))
            for step in found:
                self._end_sessions_of_down_nodes(step)
            if not found:
                continue
            try:
                await self._store.batch(found)
            except NotLeaderError:
                await asyncio.sleep(_PAUSE_SECONDS)
            except CoveyError as error:
                log.warning("the states of %d nodes were not written: %s", len(found), error.message)
                await asyncio.sleep(_PAUSE_SECONDS)

    def _seconds_to_check(self, due_ns: int) -> float:
        """At most the check interval, and less when the deadline of a node is nearer."""
        seconds = (due_ns - self._clock()) / SECOND if due_ns else _CHECK_SECONDS
        return max(_MIN_CHECK_SECONDS, min(seconds, _CHECK_SECONDS))

    def _end_sessions_of_down_nodes(self, step: Step) -> None:
        """Ends the session of a node that is marked DOWN. If the node is alive after all, it begins a new one."""
        for node in step.updates:
            if not isinstance(node, Node):
                continue
            log.info("node %s is %s: %s", node.id, node.status.state.name, node.status.message)
            session = self.sessions.get(node.id)
            if node.status.state is NodeState.DOWN and session is not None:
                session.end(UnavailableError("no heartbeat of this node arrived in time"))


def _require_valid_description(description: NodeDescription, addr: str) -> None:
    """Bounds the description, which every manager stores, and validates the address, which other nodes are told."""
    size = codec.to_wire(description).ByteSize()
    if size > MAX_DESCRIPTION_BYTES:
        raise InvalidArgumentError(f"the node's description has {size} bytes; the limit is {MAX_DESCRIPTION_BYTES}")
    try:
        if addr:
            ipaddress.ip_address(addr)
    except ValueError:
        raise InvalidArgumentError(f"the node's address {addr!r} is not an IP address") from None


def _require_unused_address(tx: Tx, node_id: str, addr: str) -> None:
    """Refuses an address of another READY node: tunnels end there, and two nodes would take each other's traffic."""
    for other in tx.nodes.by_address(addr):
        if other.id != node_id and other.status.state is NodeState.READY:
            raise InvalidArgumentError(
                f"node {other.id} ({other.description.hostname}) has the address {addr} already: leave the cluster and join again "
                "with a different --advertise-addr"
            )


def _require_same_family(nodes: Iterable[Node], node_id: str, tunnel: str) -> None:
    """Refuses a tunnel end of another family than those of the other READY nodes: no packet would go between them."""
    for other in nodes:
        end = other.description.data_path_addr or other.status.addr
        if other.id == node_id or other.status.state is not NodeState.READY or not (end and tunnel):
            continue
        if (":" in end) != (":" in tunnel):
            family = "IPv6" if ":" in end else "IPv4"
            raise PreconditionError(
                f"the data path address {tunnel} of node {node_id} cannot reach {end} of node {other.id} ({other.description.hostname}): "
                f"leave the cluster and join again with an {family} address for --data-path-addr"
            )
        return  # all READY nodes have the same


def _affects_all_sessions(change: Change) -> bool:
    """Whether a change may affect the session state of every node: cluster settings, a node's spec, role or manager."""
    before, after = change.before, change.after
    if isinstance(before, Cluster) or isinstance(after, Cluster):
        return True
    if not (isinstance(before, Node) or isinstance(after, Node)):
        return False
    if not (isinstance(before, Node) and isinstance(after, Node)):
        return True
    return (before.spec, before.role, before.manager_status) != (after.spec, after.role, after.manager_status)
