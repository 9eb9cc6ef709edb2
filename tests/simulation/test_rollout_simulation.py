"""Laws of drains, rebalances, canaries, restarts and stops under a clock of the test's own, with leaders that change."""

from __future__ import annotations

import random

import pytest

from covey.clock import MINUTE, SECOND
from covey.objects import Placement, RolloutOptions, UpdateConfig, replace
from covey.states import NodeAvailability, NodeState, TaskState, UpdateFailureAction, UpdateOrder, UpdateState
from manager.orchestrator.rebalance import begun
from tests.simulation.simulator.rollout_world import RolloutWorld
from tests.support.planning import node, service

SEEDS = range(6)


def world(seed: int, *, nodes: int = 4, order: UpdateOrder | None = None, **changes) -> RolloutWorld:
    """A service whose tasks all run, spread over the nodes."""
    chance = random.Random(seed)
    replicas = changes.pop("replicas", chance.randint(2, 9))
    update = UpdateConfig(
        parallelism=changes.pop("parallelism", chance.randint(1, 3)),
        order=order if order is not None else chance.choice(list(UpdateOrder)),
        delay_ns=chance.choice([0, SECOND]),
        monitor_ns=SECOND,
        failure_action=changes.pop("failure_action", UpdateFailureAction.PAUSE),
    )
    zones = changes.pop("zones", ("",) * nodes)
    placement = Placement(preferences=("node.labels.zone",)) if any(zones) else None
    web = service(
        replicas=replicas, update=update, rollback=replace(update, delay_ns=0), placement=placement, **changes
    )
    made = RolloutWorld(seed, *[node(f"n{number}", labels={"zone": zone}) for number, zone in enumerate(zones)], web)
    made.run(20)
    assert len(made.serving()) == replicas
    most_down = 0 if update.order is UpdateOrder.START_FIRST else update.parallelism
    made.least, made.guarded = max(0, replicas - most_down), True
    return made


def lose_and_return(made: RolloutWorld, name: str) -> None:
    """A node fails, its tasks run elsewhere, and it returns."""
    made.guarded = False
    made.set_node(name, state=NodeState.DOWN)
    made.run(20)
    made.set_node(name, state=NodeState.READY)
    made.run(5)
    made.guarded = True


def is_even(made: RolloutWorld) -> bool:
    counts = [made.counts()[item.id] for item in made.view.nodes]
    return max(counts) - min(counts) <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_start_first_service_has_no_gap_while_a_node_drains(seed: int) -> None:
    made = world(seed, order=UpdateOrder.START_FIRST)
    made.change(replace(made.view.nodes.get("n0"), drain_deadline_ns=made.now_ns + 10 * MINUTE))
    made.set_node("n0", availability=NodeAvailability.DRAIN)
    made.run(60)
    assert not made.counts()["n0"]
    assert len(made.serving()) == made.view.services.get("web").spec.replicas


@pytest.mark.parametrize("seed", range(3))
def test_a_drain_without_a_place_ends_at_its_deadline(seed: int) -> None:
    made = world(seed, nodes=1, order=UpdateOrder.START_FIRST)
    made.change(replace(made.view.nodes.get("n0"), drain_deadline_ns=made.now_ns + MINUTE))
    made.set_node("n0", availability=NodeAvailability.DRAIN)
    made.run(55)
    assert len(made.serving()) == made.least
    made.guarded = False
    made.run(20)
    assert not made.serving()
    assert not made.counts()["n0"]


@pytest.mark.parametrize("seed", range(3))
def test_a_replacement_that_fails_lets_the_old_task_stay_while_its_node_drains(seed: int) -> None:
    made = world(seed, order=UpdateOrder.START_FIRST)
    made.crashing.add("one")
    made.change(replace(made.view.nodes.get("n0"), drain_deadline_ns=made.now_ns + 10 * MINUTE))
    made.set_node("n0", availability=NodeAvailability.DRAIN)
    made.run(60)
    made.crashing.clear()
    made.run(60)
    assert not made.counts()["n0"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rebalance_evens_out_the_service_and_ends(seed: int) -> None:
    made = world(seed)
    lose_and_return(made, "n1")
    made.change(replace(made.view.services.get("web"), update_status=begun(made.now_ns)))
    made.run(120)
    assert (made.status.state, made.status.message) == (UpdateState.COMPLETED, "rebalance completed")
    assert is_even(made)
    assert len(made.serving()) == made.view.services.get("web").spec.replicas


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rebalance_moves_no_more_tasks_at_a_time_than_an_update_replaces(seed: int) -> None:
    made = world(seed, nodes=3, replicas=12, parallelism=1)
    lose_and_return(made, "n1")
    made.change(replace(made.view.services.get("web"), update_status=begun(made.now_ns)))
    made.run(120)
    assert set(made.counts().values()) == {4}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_service_that_is_spread_well_is_left_alone(seed: int) -> None:
    made = world(seed, replicas=6, zones=("east", "east", "east", "west"))
    before = {task.id for task in made.view.tasks}
    made.change(replace(made.view.services.get("web"), update_status=begun(made.now_ns)))
    made.run(60)
    assert made.status.state is UpdateState.COMPLETED
    assert {task.id for task in made.view.tasks} == before
    assert made.counts()["n3"] == 3, "half of the tasks in each zone"


@pytest.mark.parametrize("seed", SEEDS)
def test_an_automatic_rebalance_does_not_oscillate(seed: int) -> None:
    made = world(seed, rollout=RolloutOptions(rebalance=True, rebalance_after_ns=10 * SECOND))
    for name in ("n1", "n2", "n1"):
        lose_and_return(made, name)
        made.run(150)
        assert is_even(made)
    version = made.view.version
    made.run(120)
    assert made.view.version == version, "a settled service is left alone"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rebalance_whose_new_tasks_fail_pauses_and_takes_nothing_more_away(seed: int) -> None:
    made = world(seed, replicas=8, parallelism=1, failure_action=UpdateFailureAction.ROLLBACK)
    lose_and_return(made, "n1")
    made.crashing.add("one")
    web = made.view.services.get("web")
    made.change(replace(web, previous_spec=web.spec, update_status=begun(made.now_ns)))
    made.run(60)
    assert made.status.state is UpdateState.PAUSED
    assert "rebalance paused due to failure" in made.status.message


def update_image(made: RolloutWorld, image: str = "two") -> None:
    web = made.view.services.get("web")
    container = replace(web.spec.task.container, image=image)
    spec = replace(web.spec, task=replace(web.spec.task, container=container))
    made.change(replace(web, spec=spec, spec_version=web.meta.version + 1, previous_spec=web.spec, update_status=None))


def of_image(made: RolloutWorld, image: str) -> int:
    running = [task for task in made.view.tasks if task.status.state is TaskState.RUNNING]
    return sum(task.spec.container.image == image for task in running)


@pytest.mark.parametrize("seed", SEEDS)
def test_canaries_come_first_and_the_rest_waits_for_a_promotion(seed: int) -> None:
    made = world(seed, replicas=6, rollout=RolloutOptions(canaries=2))
    update_image(made)
    made.run(60)
    assert made.status.awaits_promotion
    assert made.status.state is UpdateState.PAUSED
    assert "2 of 6 tasks run the new spec" in made.status.message
    assert (of_image(made, "one"), of_image(made, "two")) == (4, 2)
    promoted = replace(made.status, state=UpdateState.UPDATING, awaits_promotion=False, promoted=True)
    made.change(replace(made.view.services.get("web"), update_status=promoted))
    made.run(60)
    assert made.status.state is UpdateState.COMPLETED
    assert of_image(made, "two") == 6


@pytest.mark.parametrize("seed", SEEDS)
def test_while_canaries_are_tested_lost_tasks_keep_their_old_spec(seed: int) -> None:
    made = world(seed, replicas=6, rollout=RolloutOptions(canaries=2))
    update_image(made)
    made.run(60)
    lose_and_return(made, "n1")
    assert (of_image(made, "one"), of_image(made, "two")) == (4, 2)
    assert made.status.awaits_promotion


@pytest.mark.parametrize("seed", SEEDS)
def test_healthy_canaries_promote_the_update_by_themselves(seed: int) -> None:
    made = world(seed, replicas=6, rollout=RolloutOptions(canaries=1, canary_monitor_ns=30 * SECOND))
    update_image(made)
    made.run(25)
    assert of_image(made, "two") == 1
    assert made.status.state is UpdateState.UPDATING
    made.run(90)
    assert of_image(made, "two") == 6


@pytest.mark.parametrize("seed", SEEDS)
def test_canaries_that_fail_roll_the_update_back(seed: int) -> None:
    made = world(
        seed,
        replicas=6,
        parallelism=1,
        failure_action=UpdateFailureAction.ROLLBACK,
        rollout=RolloutOptions(canaries=1, canary_monitor_ns=30 * SECOND),
    )
    made.crashing.add("two")
    update_image(made)
    made.run(60)
    assert made.status.state is UpdateState.ROLLBACK_COMPLETED
    assert of_image(made, "one") == 6


@pytest.mark.parametrize("seed", range(3))
def test_a_stopped_service_ends_its_tasks_and_starts_with_all_replicas(seed: int) -> None:
    made = world(seed)
    made.guarded = False
    web = made.view.services.get("web")
    made.change(replace(web, spec=replace(web.spec, rollout=RolloutOptions(stopped=True))))
    made.run(20)
    assert not of_image(made, "one")
    assert made.view.services.get("web").spec.replicas == web.spec.replicas
    made.change(replace(made.view.services.get("web"), spec=web.spec))
    made.run(20)
    assert len(made.serving()) == web.spec.replicas


def test_a_restart_has_nothing_to_test_and_waits_for_no_promotion() -> None:
    made = world(1, replicas=6, rollout=RolloutOptions(canaries=1))
    web = made.view.services.get("web")
    spec = replace(web.spec, task=replace(web.spec.task, force_update=1))
    made.change(replace(web, spec=spec, spec_version=web.meta.version + 1, previous_spec=web.spec))
    made.run(60)
    assert made.status.state is UpdateState.COMPLETED
    assert all(task.spec.force_update for task in made.view.tasks if task.status.state is TaskState.RUNNING)
