"""Restart policy: whether a task that ended by itself gets a successor, and when the successor may start.

Invariant: the answer depends on the stored task only, so it is the same on every leader and at every time. The backoff is stored in the
successor (``start_after_ns``, ``restarts``). Called by ``slot_reconciler``.
"""

from __future__ import annotations

import msgspec

from covey.clock import MILLISECOND, SECOND
from covey.objects import RestartPolicy, Task
from covey.states import RestartCondition, TaskState

_STABLE_RUN_NS = 10 * SECOND
_FIRST_BACKOFF_NS = 100 * MILLISECOND
_MAX_BACKOFF_NS = 5 * SECOND
_ENDED_BY_ITSELF = (TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED)


class RestartDecision(msgspec.Struct, frozen=True):
    """A granted restart: what the successor inherits. ``delay_ns`` counts from the decision."""

    delay_ns: int
    restarts: int
    window_began_ns: int


def ended_by_itself(task: Task) -> bool:
    """Whether the task completed, failed or was rejected, rather than being shut down."""
    return task.status.state in _ENDED_BY_ITSELF


def decide_restart(task: Task) -> RestartDecision | None:
    """The restart that the policy of an ended task grants; None if it grants none."""
    policy = task.spec.restart or RestartPolicy()
    if policy.condition is RestartCondition.NONE:
        return None
    if policy.condition is RestartCondition.ON_FAILURE and task.status.state is TaskState.COMPLETE:
        return None
    ended_ns = task.status.timestamp_ns
    began_ns = task.restart_window_started_ns or task.meta.created_at_ns
    counted = task.restarts
    if policy.window_ns and ended_ns - began_ns > policy.window_ns:
        counted, began_ns = 0, ended_ns
    if policy.max_attempts and counted >= policy.max_attempts:
        return None
    return RestartDecision(max(policy.delay_ns, _crash_backoff_ns(task)), counted + 1, began_ns)


def _crash_backoff_ns(task: Task) -> int:
    """Minimum delay of a task in a crash loop, however small the delay of its policy."""
    lived_ns = task.status.timestamp_ns - task.meta.created_at_ns
    if not task.restarts or lived_ns >= _STABLE_RUN_NS:
        return 0
    return min(_FIRST_BACKOFF_NS << min(task.restarts - 1, 16), _MAX_BACKOFF_NS)
