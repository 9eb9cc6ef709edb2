"""When the quorum counts as lost. A wrong decision would create two clusters."""

from collections.abc import Iterable

import pytest

from node.quorum import LEADERLESS_SECONDS, OBSERVATION_SECONDS, QuorumLossDetector, QuorumObservation

STEP = 0.2


def looked(sights: Iterable[QuorumObservation]) -> tuple[bool | None, float]:
    """What is decided, and after how long."""
    patience, now = QuorumLossDetector(100.0), 100.0
    for sight in sights:
        decided = patience.decide(sight, now)
        if decided is not None:
            return decided, now - 100.0
        now += STEP
    return None, now - 100.0


def lasting(sight: QuorumObservation, seconds: float) -> list[QuorumObservation]:
    return [sight] * round(seconds / STEP)


@pytest.mark.parametrize("gap", [QuorumObservation.LEADERLESS, QuorumObservation.SILENT])
def test_an_election_or_a_start_does_not_count_as_a_lost_quorum(gap: QuorumObservation) -> None:
    """1. The leader dies, or this manager starts. 2. A majority elects within seconds. 3. Founding anew would end their memberships."""
    assert looked([*lasting(gap, 3), *lasting(QuorumObservation.LED, 30)])[0] is False
    assert (
        looked(
            [
                *lasting(QuorumObservation.SILENT, 3),
                *lasting(QuorumObservation.LEADERLESS, 3),
                *lasting(QuorumObservation.LED, 30),
            ]
        )[0]
        is False
    )


def test_a_long_time_without_a_leader_counts_as_a_lost_quorum() -> None:
    decided, seconds = looked([*lasting(QuorumObservation.LED, 2), *lasting(QuorumObservation.LEADERLESS, 30)])
    assert decided is True
    assert LEADERLESS_SECONDS <= seconds - 2 < LEADERLESS_SECONDS + 2 * STEP


def test_the_only_manager_does_not_wait() -> None:
    assert looked([QuorumObservation.ALONE]) == (True, 0.0)


def test_a_manager_that_keeps_crashing_does_not_delay_the_decision_for_ever() -> None:
    decided, seconds = looked(([QuorumObservation.SILENT] * 5 + [QuorumObservation.LEADERLESS] * 5) * 100)
    assert decided is True
    assert seconds < OBSERVATION_SECONDS + 2 * LEADERLESS_SECONDS + 1
