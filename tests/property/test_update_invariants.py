"""Invariants of rolling updates: with any settings they reach the new spec and stop no more slots at a time than allowed."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from covey.clock import SECOND
from covey.objects import ContainerSpec, UpdateConfig, replace
from covey.states import TaskState, UpdateOrder, UpdateState
from tests.support.planning import (
    NOW,
    Ids,
    after_planning,
    changed,
    desired_tasks,
    node,
    run_all_tasks,
    service,
    task,
    view_of,
)

configs = st.builds(
    UpdateConfig,
    parallelism=st.integers(0, 3),
    delay_ns=st.sampled_from([0, 2 * SECOND]),
    monitor_ns=st.sampled_from([0, 3 * SECOND]),
    order=st.sampled_from(UpdateOrder),
)


@settings(max_examples=150, deadline=None)
@given(configs, st.integers(1, 5), st.integers(0, 1 << 30))
def test_an_update_stops_no_more_slots_than_its_parallelism_and_completes(
    config: UpdateConfig, replicas: int, seed: int
) -> None:
    web = service(replicas=replicas, update=config)
    view = view_of(node("n1"), web, *[task(web, slot) for slot in range(1, replicas + 1)], now_ns=NOW - 99 * SECOND)
    stored = view.services.get("web")
    spec = replace(stored.spec, task=replace(stored.spec.task, container=ContainerSpec(image="two")))
    view, now = changed(view, replace(stored, spec=spec)), NOW
    ids, draw = Ids(), random.Random(seed)
    for _ in range(200):
        view = after_planning(view, now_ns=now, ids=ids)
        running = {item.slot for item in desired_tasks(view) if item.status.state is TaskState.RUNNING}
        least = replicas if config.order is UpdateOrder.START_FIRST else replicas - (config.parallelism or replicas)
        assert len(running) >= least
        if draw.random() < 0.5:
            view = run_all_tasks(view, at_ns=now)
        if draw.random() < 0.1:
            ids = Ids(f"leader-{now}-")
        now += SECOND
        if view.services.get("web").update_status.state is UpdateState.COMPLETED:
            break
    assert view.services.get("web").update_status.state is UpdateState.COMPLETED
    assert [item.spec.container.image for item in desired_tasks(view)] == ["two"] * replicas
