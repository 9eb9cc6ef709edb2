"""Task predicates: whether a task should run, whether it has ended, and the order in which tasks were created. Pure.

Called by the orchestrator, the scheduler and the allocator, so that none of them depends on another for the meaning of a task's states.
"""

from covey.objects import Task
from covey.states import TaskState


def should_run(task: Task) -> bool:
    """Whether the managers want the task to run, now or once its predecessor has ended; a task of a job until it completes."""
    return task.desired_state <= TaskState.COMPLETE


def is_wanted_running(task: Task) -> bool:
    """Whether the managers want the task to run now."""
    return TaskState.RUNNING <= task.desired_state <= TaskState.COMPLETE


def waits_for_dependencies(task: Task) -> bool:
    """Whether the task is not placed before the services that its own depends on are ready."""
    return task.desired_state is TaskState.PENDING


def is_attachment(task: Task) -> bool:
    """Whether the task only attaches a single container of its node to networks."""
    return bool(task.attached_container_id)


def has_ended(task: Task) -> bool:
    """Whether the task will never run again and no agent has to end it."""
    return task.status.state.terminal or (not should_run(task) and task.status.state < TaskState.ASSIGNED)


def priority_of(task: Task) -> int:
    """The priority of the task's service; 0 is the usual one."""
    return task.spec.placement.priority if task.spec.placement is not None else 0


def creation_order(task: Task) -> tuple[int, str]:
    """Sort key that orders tasks from the oldest to the newest."""
    return task.meta.created_at_ns, task.id
