"""The decision how many replicas a service is to have, from its measured load. Pure.

Invariant: the count stays within the bounds; it changes only if the cool-down is over and the load is known; it shrinks only to what was
enough during the whole stabilization time. An equal load leads to one count and stays there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from covey.objects import Autoscale

TOLERANCE = 0.1
"""A mean load this near to the target changes nothing."""
GROWTH_FACTOR, GROWTH_STEP = 2, 4
"""One decision at most doubles the count, or adds 4."""
_MAX_WISHES = 4096


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """A measured load.

    Attributes:
        total: the load of all replicas together that are known.
        target: the load of one replica to aim at.
        known: replicas whose load is in ``total``; -1 if the total is that of all, whatever their number.
        error: why the load is unknown.
    """

    name: str
    total: float
    target: float
    known: int = -1
    unit: str = ""
    error: str = ""


class Wish(msgspec.Struct, frozen=True):
    """How many replicas were enough at a time."""

    at_ns: int
    replicas: int


class LoadHistory(msgspec.Struct, frozen=True):
    """What the leader remembers of a service. ``since_ns``: since when it has known the load without a gap, 0 for not at all."""

    since_ns: int = 0
    wishes: tuple[Wish, ...] = ()


class Decision(msgspec.Struct, frozen=True):
    """``replicas`` is the count to set; ``message`` the reason if it differs from the present one; ``error`` why the load is unknown."""

    replicas: int
    history: LoadHistory
    message: str = ""
    error: str = ""


def decide(
    autoscale: Autoscale,
    replicas: int,
    measures: Sequence[Measure],
    history: LoadHistory,
    *,
    changed_ns: int,
    now_ns: int,
) -> Decision:
    """The count that a service is to have. ``changed_ns`` is when its count last changed, by whomever."""
    error = "; ".join(measure.error for measure in measures if measure.error)
    if not replicas:
        return Decision(0, LoadHistory())
    bounded = min(max(replicas, autoscale.min), autoscale.max)
    if bounded != replicas:
        message = f"{replicas} to {bounded} replicas: the bounds are {autoscale.min} to {autoscale.max}"
        return Decision(bounded, LoadHistory(), message, error)
    known = [measure for measure in measures if not measure.error]
    if not known:
        return Decision(replicas, LoadHistory(), error=error)
    wanted, decisive = max(((_wanted(measure, replicas), measure) for measure in known), key=lambda pair: pair[0])
    history = LoadHistory() if error else _remembered(history, wanted, autoscale.stabilization_ns, now_ns)
    after = _next_count(autoscale, replicas, wanted, history, changed_ns=changed_ns, now_ns=now_ns)
    if after == replicas:
        return Decision(replicas, history, error=error)
    return Decision(after, history, f"{replicas} to {after} replicas: {_load(decisive, replicas)}", error)


def _wanted(measure: Measure, replicas: int) -> int:
    """How many replicas bring the load of each to the target. Replicas of unknown load count as idle if more would be wanted, and as
    loaded as they should be if fewer would.
    """
    whole = measure.known < 0
    known = replicas if whole else measure.known
    mean = measure.total / known / measure.target
    if abs(mean - 1) <= TOLERANCE:
        return replicas
    missing = 0 if whole else max(replicas - known, 0)
    if mean > 1:
        return max(replicas, math.ceil(measure.total / measure.target))
    return min(replicas, math.ceil(measure.total / measure.target + missing))


def _remembered(history: LoadHistory, wanted: int, window_ns: int, now_ns: int) -> LoadHistory:
    kept = [wish for wish in history.wishes if now_ns - window_ns <= wish.at_ns <= now_ns]
    wishes = (*kept, Wish(now_ns, wanted))[-_MAX_WISHES:]
    return LoadHistory(history.since_ns or now_ns, wishes)


def _next_count(
    autoscale: Autoscale, replicas: int, wanted: int, history: LoadHistory, *, changed_ns: int, now_ns: int
) -> int:
    rested_ns = now_ns - changed_ns
    if wanted > replicas:
        if rested_ns < autoscale.cooldown_up_ns:
            return replicas
        return min(wanted, max(replicas * GROWTH_FACTOR, replicas + GROWTH_STEP), autoscale.max)
    observed = history.since_ns and now_ns - history.since_ns >= autoscale.stabilization_ns
    if not observed or rested_ns < autoscale.cooldown_down_ns:
        return replicas
    enough = max(wish.replicas for wish in history.wishes)
    return max(min(enough, replicas), autoscale.min)


def _load(measure: Measure, replicas: int) -> str:
    known = replicas if measure.known < 0 else measure.known
    mean, unit = measure.total / known, measure.unit
    return f"{measure.name} {mean:.3g}{unit} of each, the target is {measure.target:g}{unit}"
