"""The store and the leader of a simulated cluster: real planners on a real view, applied as the control loops do.

Invariant: all that a planner learns of the cluster it learns from commits, and a new leader starts from the view alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from covey.errors import CoveyError, TooLargeError
from covey.objects import Node, Object, replace
from covey.states import NodeState
from manager.allocator.planner import AllocatorPlanner
from manager.health import HeartbeatTracker, plan_node_states
from manager.loop import Planner
from manager.orchestrator.orphans import OrphanPlanner
from manager.orchestrator.reaper import ReaperPlanner
from manager.orchestrator.service_planner import ServicePlanner
from manager.scheduler.planner import SchedulerPlanner
from manager.store import log
from manager.store.applier import apply
from manager.store.commit import Commit
from manager.store.view import Tx, View
from tests.support.planning import Ids

Operation = Callable[[Tx], None]
_MAX_PASSES = 60
"""A quiet cluster that needs more passes than this plans in circles."""


class SimulatedLeader:
    """``watchers`` get every commit. ``wake_at_ns``: when a planner wants to plan again; 0 for never."""

    def __init__(self, watchers: Iterable[Callable[[View, Commit], None]]) -> None:
        self.view = View.empty()
        self.commits = 0
        self._watchers = tuple(watchers)
        self._ids = Ids("t")
        self._planners: tuple[Planner, ...] = ()
        self.wake_at_ns = 0
        self.heartbeats = HeartbeatTracker(0)

    def elect(self, now_ns: int) -> None:
        """A new leader takes over."""
        self._planners = (
            ServicePlanner(self._ids),
            AllocatorPlanner(),
            SchedulerPlanner(),
            OrphanPlanner(),
            ReaperPlanner(),
        )
        self.heartbeats = HeartbeatTracker(now_ns)
        for planner in self._planners:
            planner.reset(self.view)
        self.wake_at_ns = now_ns

    def commit(self, operations: Iterable[Operation], now_ns: int) -> None:
        """Applies the operations in as few transactions as hold them; those that are out of date change nothing."""
        tx = Tx(self.view)
        for operation in operations:
            if not _applied(tx, operation) and tx.changes:
                self._store(tx, now_ns)
                tx = Tx(self.view)
                _applied(tx, operation)
        self._store(tx, now_ns)

    def _store(self, tx: Tx, now_ns: int) -> None:
        if not tx.changes:
            return
        applied = apply(self.view, self.view.version + 1, log.decode(log.encode(1, tx.changes, now_ns)))
        assert applied is not None, "the store refused a transaction that was made from its own view"
        self.view, commit = applied
        self.commits += 1
        for planner in self._planners:
            for change in commit.changes:
                planner.observe(change.before, change.after)
        for watcher in self._watchers:
            watcher(self.view, commit)

    def put(self, item: Object, now_ns: int) -> None:
        """Updates one object."""
        self.commit([lambda tx: tx.update(item)], now_ns)

    def plan(self, now_ns: int) -> None:
        """Lets all planners decide until none has anything to do now."""
        for _ in range(_MAX_PASSES):
            plans = [self._plan(planner, now_ns) for planner in self._planners]
            wake_times_ns = [at_ns for _, at_ns in plans if at_ns]
            self.wake_at_ns = min(wake_times_ns, default=0)
            if not any(steps for steps, _ in plans) and not (self.wake_at_ns and self.wake_at_ns <= now_ns):
                return
        raise AssertionError(f"the planners found no end in {_MAX_PASSES} passes")

    def _plan(self, planner: Planner, now_ns: int) -> tuple[int, int]:
        plan = planner.plan(self.view, now_ns)
        self.commit(plan.steps, now_ns)
        for step in plan.steps:
            for item in step.items():
                planner.observe(None, item)
        return len(plan.steps), plan.wake_at_ns

    def judge_nodes(self, now_ns: int) -> None:
        """Declares silent nodes DISCONNECTED or DOWN."""
        self.heartbeats.record_check(now_ns)
        self.commit(plan_node_states(self.view, self.heartbeats, now_ns).steps, now_ns)

    def welcome(self, node: Node, now_ns: int) -> None:
        """A session begins, so the node is READY."""
        if node.status.state is not NodeState.READY:
            status = replace(node.status, state=NodeState.READY, message="", changed_at_ns=now_ns)
            self.put(replace(node, status=status), now_ns)


def _applied(tx: Tx, operation: Operation) -> bool:
    """Applies one operation. False if the transaction is full."""
    savepoint = tx.savepoint()
    try:
        operation(tx)
    except CoveyError as error:
        tx.roll_back(savepoint)
        return not isinstance(error, TooLargeError)
    return True
