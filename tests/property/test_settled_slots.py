"""A slot that is called settled needs no step, whatever the cluster looks like."""

from hypothesis import given, settings

from manager.orchestrator import rolling_update, slot_reconciler
from manager.orchestrator.settled_slots import SettledSlots
from manager.orchestrator.slots import ServiceContext, group_into_slots
from tests.property.test_orchestrator_invariants import fixpoint, worlds
from tests.support.planning import NOW, Ids, run_all_tasks


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_a_settled_slot_is_left_alone_by_reconciler_and_update(view) -> None:
    for state in (view, fixpoint(view), run_all_tasks(fixpoint(view))):
        context = ServiceContext(state, state.services.get("web"), NOW, Ids())
        settled = SettledSlots(context)
        for slot in group_into_slots(context.service, state.tasks.by_service("web")).values():
            if settled.is_settled(slot):
                plan = slot_reconciler.reconcile_slot(context, slot)
                assert (plan.steps, plan.wake_at_ns) == ((), 0)
                assert not rolling_update.is_dirty(context, slot)
