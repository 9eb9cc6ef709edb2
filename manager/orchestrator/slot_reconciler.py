"""Reconciliation of one slot: replaces dead, lost or misplaced tasks, ends surplus tasks and starts waiting successors.

Invariant: a slot gets at most one step per pass, and has at most one live task, except for the old and the new task of a start-first
update or move. Called by the service planner for replicated and global services and for the unfinished slots of jobs.
"""

from __future__ import annotations

from covey.objects import Task, replace
from covey.states import TaskState
from covey.task_predicates import should_run, waits_for_dependencies
from manager.loop import EMPTY, Plan, Step
from manager.loop.plan import earliest
from manager.orchestrator import departures, restart
from manager.orchestrator.slots import ServiceContext, Slot, with_shutdown
from manager.orchestrator.update_policy import is_start_first, is_testing_canaries


def reconcile_slot(context: ServiceContext, slot: Slot) -> Plan:
    """The slot's next step apart from scaling and updates; an empty plan if it needs none."""
    leaving = departures.leaving_tasks(context, slot)
    return _replace_leaving(context, slot, leaving) if leaving else _reconcile(context, slot)


def _replace_leaving(context: ServiceContext, slot: Slot, leaving: tuple[Task, ...]) -> Plan:
    """Has a replacement run elsewhere before the tasks that leave their nodes are told to end."""
    rest = departures.without(slot, leaving)
    if departures.is_replaced(context, rest, leaving):
        return _single_step(Step(updates=tuple([with_shutdown(task) for task in leaving])))
    given_up = departures.abandoned_move(context, rest, leaving)
    if given_up:
        return _single_step(Step(updates=given_up))
    if not rest.active:
        return _single_step(Step(creates=(_successor(context, slot, leaving[0]),), preconditions=(context.service,)))
    wake_at_ns = departures.next_check_ns(context, rest, leaving)
    if any(task.status.state.terminal and restart.decide_restart(task) is None for task in rest.active):
        return Plan((), wake_at_ns)  # no further attempt is granted: the old task stays until the drain's deadline
    plan = _reconcile(context, rest)
    return Plan(plan.steps, earliest(plan.wake_at_ns, wake_at_ns))


def _reconcile(context: ServiceContext, slot: Slot) -> Plan:
    active = slot.active
    dead = [task for task in active if task.status.state.terminal]
    if dead:
        in_backoff = context.up_to_date(dead[0]) and dead[0].start_after_ns > context.now_ns
        if in_backoff and not _has_replacement(context, slot, dead[0]):
            return Plan((), dead[0].start_after_ns)  # it failed while it waited; its successor waits for the same time
        return _single_step(_replace_dead(context, slot, dead[0]))
    stranded = [task for task in active if context.on_lost_node(task) or context.misplaced(task)]
    if stranded:
        return _single_step(_replace_stranded(context, slot, stranded[0]))
    surplus = _surplus_tasks(context, active)
    if surplus:
        return _single_step(Step(updates=tuple([with_shutdown(task) for task in surplus])))
    return _start_waiting_task(context, slot, active)


def is_finished(context: ServiceContext, slot: Slot) -> bool:
    """Whether the slot counts as filled because its last task ended by itself, under the current spec, and is not restarted."""
    if not slot.tasks or slot.active:
        return False
    last = slot.tasks[-1]
    return context.up_to_date(last) and stays_ended(last)


def stays_ended(task: Task) -> bool:
    """Whether the task ended by itself and gets no successor."""
    removed = task.desired_state >= TaskState.REMOVE or task.end_reason
    return not removed and restart.ended_by_itself(task) and restart.decide_restart(task) is None


def new_task_for_slot(context: ServiceContext, slot: Slot, ending: tuple[Task, ...] = ()) -> Task:
    """A new task for the slot. It waits in READY while a predecessor may still run; ``ending`` are predecessors that this plan ends.

    Unless updates start the new task first, every other task of the slot is a predecessor: a later pass ends it as surplus.
    """
    all_end = not is_start_first(context)
    must_wait = any(
        context.may_be_running(task) for task in slot.tasks if all_end or not should_run(task) or task in ending
    )
    task = context.new_task(slot.key, desired=TaskState.READY if must_wait else context.running_state)
    return replace(task, preempted=True) if slot.tasks and slot.tasks[-1].preempted else task


def _successor(context: ServiceContext, slot: Slot, old: Task, ending: tuple[Task, ...] = ()) -> Task:
    """A new task in the place of ``old``. While only canaries may be updated it keeps the spec of the old one."""
    task = new_task_for_slot(context, slot, ending)
    if context.up_to_date(old) or not is_testing_canaries(context, context.service.update_status):
        return task
    return replace(task, spec=old.spec, spec_version=old.spec_version)


def _inherits(context: ServiceContext, task: Task, old: Task) -> bool:
    """Whether the attempts of the old task count for the new one: both have the same spec."""
    return context.up_to_date(old) or task.spec is old.spec


def _replace_dead(context: ServiceContext, slot: Slot, dead: Task) -> Step:
    end = with_shutdown(dead)
    if _has_replacement(context, slot, dead):
        return Step(updates=(end,))
    granted = restart.decide_restart(dead)
    if granted is None:
        return Step(updates=(end,), preconditions=(context.service,))
    task = _successor(context, slot, dead)
    due_ns = context.now_ns + granted.delay_ns if granted.delay_ns else 0
    if _inherits(context, task, dead):
        task = replace(task, restarts=granted.restarts, restart_window_started_ns=granted.window_began_ns)
    if due_ns:
        task = replace(task, start_after_ns=due_ns, desired_state=min(task.desired_state, TaskState.READY))
    return Step(updates=(end,), creates=(task,), preconditions=(context.service,))


def _replace_stranded(context: ServiceContext, slot: Slot, stranded: Task) -> Step:
    end = with_shutdown(stranded, context.end_reason(stranded))
    if isinstance(slot.key, str) or _has_replacement(context, slot, stranded):
        return Step(updates=(end,))  # a global task runs on its own node only
    task = _successor(context, slot, stranded, (stranded,))
    if _inherits(context, task, stranded):
        task = replace(task, restarts=stranded.restarts, restart_window_started_ns=stranded.restart_window_started_ns)
    return Step(updates=(end,), creates=(task,), preconditions=(context.service,))


def _has_replacement(context: ServiceContext, slot: Slot, leaving: Task) -> bool:
    """Whether another live task of the slot stands in for ``leaving``: an up-to-date one, or any if ``leaving`` is outdated."""
    others = [task for task in slot.active if task is not leaving and not task.status.state.terminal]
    return any(context.up_to_date(task) or not context.up_to_date(leaving) for task in others)


def _surplus_tasks(context: ServiceContext, active: tuple[Task, ...]) -> list[Task]:
    """Active tasks that the slot does not need any more."""
    clean = sorted([task for task in active if context.up_to_date(task)], key=_best_first)
    old = sorted([task for task in active if not context.up_to_date(task)], key=_best_first)
    surplus = clean[1:] + old[1:]
    replaced = clean and old and (clean[0].status.state is TaskState.RUNNING or not is_start_first(context))
    return surplus + old[:1] if replaced else surplus


def _best_first(task: Task) -> tuple[int, int, str]:
    return -task.status.state, task.meta.created_at_ns, task.id


def _start_waiting_task(context: ServiceContext, slot: Slot, active: tuple[Task, ...]) -> Plan:
    """Lets the task that waits in READY run once its backoff is over and its predecessors have ended."""
    waiting = [task for task in active if task.desired_state < TaskState.RUNNING]
    if not waiting:
        return _adopt_spec(context, active)
    task = waiting[0]
    if waits_for_dependencies(task):
        return _release_or_explain(context, task)
    if task.start_after_ns > context.now_ns:
        return Plan((), task.start_after_ns)
    if any(context.may_be_running(other) for other in slot.tasks if not should_run(other)):
        return EMPTY  # the predecessor's end is a commit, which makes the service dirty
    return _single_step(Step(updates=(replace(task, desired_state=context.running_state),)))


def _adopt_spec(context: ServiceContext, active: tuple[Task, ...]) -> Plan:
    """Gives a task that stays as it is the service's newer spec: the placement and the credentials that count from now on."""
    service = context.service
    kept = [task for task in active if task.spec_version != service.spec_version and context.up_to_date(task)]
    adopted = [replace(task, spec=service.spec.task, spec_version=service.spec_version) for task in kept]
    return _single_step(Step(updates=tuple(adopted), preconditions=(service,))) if adopted else EMPTY


def _release_or_explain(context: ServiceContext, task: Task) -> Plan:
    """Lets a task be placed once the dependencies of its service are ready; until then it says what it waits for."""
    reason = context.waiting_for
    if reason and task.status.error == reason:
        return EMPTY
    message = reason or "dependencies are ready"
    status = replace(task.status, timestamp_ns=context.now_ns, message=message, error=reason)
    desired = TaskState.PENDING if reason else TaskState.READY
    return _single_step(Step(updates=(replace(task, status=status, desired_state=desired),)))


def _single_step(step: Step) -> Plan:
    return Plan((step,))
