"""Decisions on the replicas of a service: bounds, cool-downs, stabilization, unknown loads, and laws over arbitrary loads."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.clock import MINUTE, SECOND
from covey.objects import Autoscale
from manager.autoscale.decision import Decision, LoadHistory, Measure, Wish, decide

NOW = 1_000_000 * SECOND
SCALE = Autoscale(
    min=2,
    max=10,
    cpu_percent=50,
    cooldown_up_ns=30 * SECOND,
    cooldown_down_ns=2 * MINUTE,
    stabilization_ns=MINUTE,
)
CALM = LoadHistory(NOW - MINUTE, (Wish(NOW - MINUTE, 2),))


def cpu(*percents: float) -> Measure:
    return Measure(name="cpu", unit=" %", total=sum(percents), target=50, known=len(percents))


def query(value: float, target: float = 100) -> Measure:
    return Measure(name="query", total=value, target=target)


UNKNOWN = Measure(name="query", total=0, target=100, error="Prometheus does not answer")


def decided(
    replicas: int, *measures: Measure, history: LoadHistory = CALM, changed_ns: int = 0, scale: Autoscale = SCALE
) -> Decision:
    return decide(scale, replicas, measures, history, changed_ns=changed_ns, now_ns=NOW)


def test_twice_the_target_doubles_the_replicas_and_says_why() -> None:
    found = decided(2, cpu(110, 90))
    assert found.replicas == 4
    assert found.message == "2 to 4 replicas: cpu 100 % of each, the target is 50 %"


def test_a_load_near_the_target_changes_nothing() -> None:
    assert decided(3, cpu(54, 54, 54)).replicas == 3
    assert decided(3, cpu(46, 46, 46)).replicas == 3


def test_the_measure_that_wants_most_decides() -> None:
    found = decided(3, cpu(20, 20, 20), query(800))
    assert (found.replicas, found.message) == (7, "3 to 7 replicas: query 267 of each, the target is 100")


def test_one_decision_doubles_or_adds_four_and_never_passes_the_bounds() -> None:
    assert decided(2, query(100_000)).replicas == 6
    assert decided(6, query(100_000)).replicas == 10


def test_replicas_outside_of_the_bounds_come_back_at_once() -> None:
    assert decided(1, cpu(50), changed_ns=NOW).replicas == 2
    assert decided(12, UNKNOWN, changed_ns=NOW).message == "12 to 10 replicas: the bounds are 2 to 10"


def test_a_stopped_service_stays_stopped() -> None:
    assert decided(0, query(10_000)).replicas == 0


@pytest.mark.parametrize(("rested", "replicas"), [(29, 2), (30, 4)])
def test_the_count_grows_after_its_cool_down(rested: int, replicas: int) -> None:
    assert decided(2, cpu(100, 100), changed_ns=NOW - rested * SECOND).replicas == replicas


def test_the_count_shrinks_to_what_was_enough_during_the_whole_time() -> None:
    busy = LoadHistory(NOW - 5 * MINUTE, (Wish(NOW - 50 * SECOND, 5), Wish(NOW - 20 * SECOND, 3)))
    assert decided(8, cpu(*[10] * 8), history=busy).replicas == 5
    old = LoadHistory(NOW - 5 * MINUTE, (Wish(NOW - 61 * SECOND, 8),))
    assert decided(8, cpu(*[10] * 8), history=old).replicas == 2


def test_a_new_leader_and_a_recent_change_remove_nothing() -> None:
    assert decided(8, cpu(*[1] * 8), history=LoadHistory()).replicas == 8
    assert decided(8, cpu(*[1] * 8), history=LoadHistory(NOW - 30 * SECOND)).replicas == 8
    assert decided(8, cpu(*[1] * 8), changed_ns=NOW - MINUTE).replicas == 8


def test_an_unknown_load_is_told_and_changes_nothing() -> None:
    found = decided(3, UNKNOWN)
    assert (found.replicas, found.message, found.error) == (3, "", "Prometheus does not answer")


def test_beside_an_unknown_load_a_known_one_adds_and_removes_nothing() -> None:
    assert decided(3, UNKNOWN, cpu(100, 100, 100)).replicas == 6
    assert decided(8, UNKNOWN, cpu(*[1] * 8)).replicas == 8


def test_replicas_that_have_just_started_neither_add_nor_remove_others() -> None:
    assert decided(4, cpu(60, 60)).replicas == 4
    assert decided(4, cpu(20, 20)).replicas == 3


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 8),
    st.integers(0, 8),
    st.lists(st.one_of(st.floats(0, 1e6), st.none()), min_size=1, max_size=60),
    st.integers(0, 30),
)
def test_the_count_is_within_the_bounds_whatever_the_load(
    least: int, more: int, loads: list[float | None], replicas: int
) -> None:
    scale = Autoscale(
        min=least,
        max=least + more,
        cooldown_up_ns=9 * SECOND,
        cooldown_down_ns=20 * SECOND,
        stabilization_ns=30 * SECOND,
    )
    history, changed, before = LoadHistory(), 0, replicas
    for step, load in enumerate(loads):
        now = NOW + step * 5 * SECOND
        measure = UNKNOWN if load is None else query(load)
        found = decide(scale, replicas, [measure], history, changed_ns=changed, now_ns=now)
        assert found.replicas == 0 if not before else least <= found.replicas <= least + more
        if found.replicas != replicas:
            assert found.message
            within = least <= replicas <= least + more
            rest = scale.cooldown_up_ns if found.replicas > replicas else scale.cooldown_down_ns
            assert not within or (now - changed >= rest and load is not None)
            changed = now
        history, replicas = found.history, found.replicas


@settings(max_examples=200, deadline=None)
@given(st.floats(1, 2000), st.integers(1, 20), st.floats(0, 0.04), st.randoms())
def test_an_even_load_leads_to_one_count_that_stays(load: float, replicas: int, noise: float, random: object) -> None:
    """A load that trembles by less than the tolerance does not make the count go up and down."""
    scale = Autoscale(
        min=1, max=20, cooldown_up_ns=5 * SECOND, cooldown_down_ns=10 * SECOND, stabilization_ns=30 * SECOND
    )
    history, changed, counts = LoadHistory(), 0, []
    for step in range(120):
        now = NOW + step * 5 * SECOND
        trembling = load * (1 + random.uniform(-noise, noise))  # type: ignore[attr-defined]
        found = decide(scale, replicas, [query(trembling)], history, changed_ns=changed, now_ns=now)
        changed = now if found.replicas != replicas else changed
        history, replicas = found.history, found.replicas
        counts.append(replicas)
    settled = counts[60:]
    assert len(set(settled)) <= 2
    turns = sum(1 for one, other in zip(settled, settled[1:], strict=False) if one != other)
    assert turns <= 2
    assert settled[-1] >= math.floor(min(load / 100, 20) / 1.2)
