"""Upkeep of one slot: replacing what died, was lost or is misplaced, ending surplus, letting successors start.

Law: in one pass a slot gets at most one step, and a slot never has more live tasks than one, but for the old and the new of a start-first
update. Called by the planner of services for replicated and global ones alike.
"""

from __future__ import annotations

from covey.objects import Task, UpdateConfig, replace
from covey.states import TaskState, UpdateOrder, UpdateState
from manager.loop import EMPTY, Plan, Step
from manager.orchestrator import restart
from manager.orchestrator.slots import Context, Slot, shut_down, wanted


def keep(context: Context, slot: Slot) -> Plan:
    """What the slot needs whatever scale and update want; empty when nothing."""
    active = slot.active
    dead = [task for task in active if task.status.state.terminal]
    if dead:
        early = context.clean(dead[0]) and dead[0].start_after_ns > context.now_ns
        if early and not _has_other(context, slot, dead[0]):
            return Plan((), dead[0].start_after_ns)  # it failed while it waited, and the pause is for its successor too
        return _one(_replace_dead(context, slot, dead[0]))
    stranded = [task for task in active if context.lost(task) or context.misplaced(task)]
    if stranded:
        return _one(_replace_stranded(context, slot, stranded[0]))
    surplus = _surplus(context, active)
    if surplus:
        return _one(Step(updates=tuple([shut_down(task) for task in surplus])))
    return _let_start(context, slot, active)


def spent(context: Context, slot: Slot) -> bool:
    """Whether the slot's last task ended by itself under the present spec and its policy lets it rest: the slot counts as filled."""
    if not slot.tasks or slot.active:
        return False
    last = slot.tasks[-1]
    return context.clean(last) and rests(last)


def rests(task: Task) -> bool:
    """Whether the task ended by itself and is to have no successor."""
    removed = task.desired_state >= TaskState.REMOVE
    return not removed and restart.ended_by_itself(task) and restart.after(task) is None


def start_first(context: Context) -> bool:
    return update_config(context).order is UpdateOrder.START_FIRST


def update_config(context: Context) -> UpdateConfig:
    """The settings that hold now: the rollback's during a rollback."""
    service = context.service
    rolling_back = service.update_status is not None and service.update_status.state in {
        UpdateState.ROLLBACK_STARTED,
        UpdateState.ROLLBACK_PAUSED,
    }
    return (service.spec.rollback if rolling_back else service.spec.update) or UpdateConfig()


def fill(context: Context, slot: Slot, leaving: tuple[Task, ...] = ()) -> Task:
    """A new task for the slot: it may start at once only when no predecessor lives (``leaving`` are those still to be told)."""
    waits = any(context.live(task) for task in slot.tasks if not wanted(task) or task in leaving)
    return context.new_task(slot.key, desired=TaskState.READY if waits else TaskState.RUNNING)


def _replace_dead(context: Context, slot: Slot, dead: Task) -> Step:
    end = shut_down(dead)
    if _has_other(context, slot, dead):
        return Step(updates=(end,))
    granted = restart.after(dead)
    if granted is None:
        return Step(updates=(end,), needs=(context.service,))
    task = fill(context, slot)
    due_ns = context.now_ns + granted.delay_ns if granted.delay_ns else 0
    if context.clean(dead):
        task = replace(task, restarts=granted.restarts, restart_window_began_ns=granted.window_began_ns)
    if due_ns:
        task = replace(task, start_after_ns=due_ns, desired_state=TaskState.READY)
    return Step(updates=(end,), creates=(task,), needs=(context.service,))


def _replace_stranded(context: Context, slot: Slot, stranded: Task) -> Step:
    end = shut_down(stranded)
    if isinstance(slot.key, str) or _has_other(context, slot, stranded):
        return Step(updates=(end,))  # a global task has no other place
    task = fill(context, slot, (stranded,))
    if context.clean(stranded):
        task = replace(task, restarts=stranded.restarts, restart_window_began_ns=stranded.restart_window_began_ns)
    return Step(updates=(end,), creates=(task,), needs=(context.service,))


def _has_other(context: Context, slot: Slot, gone: Task) -> bool:
    """Whether the slot is still served without this one: by a clean task, or by an old one when an old one goes."""
    others = [task for task in slot.active if task is not gone and not task.status.state.terminal]
    return any(context.clean(task) or not context.clean(gone) for task in others)


def _surplus(context: Context, active: tuple[Task, ...]) -> list[Task]:
    """Active tasks that the slot no longer needs."""
    clean = sorted([task for task in active if context.clean(task)], key=_best_first)
    old = sorted([task for task in active if not context.clean(task)], key=_best_first)
    surplus = clean[1:] + old[1:]
    replaced = clean and old and (clean[0].status.state is TaskState.RUNNING or not start_first(context))
    return surplus + old[:1] if replaced else surplus


def _best_first(task: Task) -> tuple[int, int, str]:
    return -task.status.state, task.meta.created_at_ns, task.id


def _let_start(context: Context, slot: Slot, active: tuple[Task, ...]) -> Plan:
    """Raises what waits in READY once it is due and its predecessors have ended."""
    waiting = [task for task in active if task.desired_state < TaskState.RUNNING]
    if not waiting:
        return EMPTY
    task = waiting[0]
    if task.start_after_ns > context.now_ns:
        return Plan((), task.start_after_ns)
    if any(context.live(other) for other in slot.tasks if not wanted(other)):
        return EMPTY  # the predecessor's end is a commit
    return _one(Step(updates=(replace(task, desired_state=TaskState.RUNNING),)))


def _one(step: Step) -> Plan:
    return Plan((step,))
