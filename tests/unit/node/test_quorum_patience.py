"""When a group counts as lost: two clusters are made where this is wrong."""

from collections.abc import Iterable

import pytest

from node.quorum import PATIENCE_SECONDS, QUIET_SECONDS, Patience, Sight

STEP = 0.2


def looked(sights: Iterable[Sight]) -> tuple[bool | None, float]:
    """What is decided, and after how long."""
    patience, now = Patience(100.0), 100.0
    for sight in sights:
        decided = patience.decide(sight, now)
        if decided is not None:
            return decided, now - 100.0
        now += STEP
    return None, now - 100.0


def lasting(sight: Sight, seconds: float) -> list[Sight]:
    return [sight] * round(seconds / STEP)


@pytest.mark.parametrize("gap", [Sight.LEADERLESS, Sight.SILENT])
def test_an_election_or_a_start_is_no_lost_quorum(gap: Sight) -> None:
    """1. The leader dies, or this manager starts. 2. A majority elects within seconds. 3. Founding anew would end their memberships."""
    assert looked([*lasting(gap, 3), *lasting(Sight.LED, 30)])[0] is False
    assert looked([*lasting(Sight.SILENT, 3), *lasting(Sight.LEADERLESS, 3), *lasting(Sight.LED, 30)])[0] is False


def test_a_manager_that_sees_no_leader_for_long_may_go_on_alone() -> None:
    decided, seconds = looked([*lasting(Sight.LED, 2), *lasting(Sight.LEADERLESS, 30)])
    assert decided is True
    assert QUIET_SECONDS <= seconds - 2 < QUIET_SECONDS + 2 * STEP


def test_who_is_alone_need_not_wait() -> None:
    assert looked([Sight.ALONE]) == (True, 0.0)


def test_a_manager_that_dies_again_and_again_does_not_hold_it_up_for_ever() -> None:
    decided, seconds = looked(([Sight.SILENT] * 5 + [Sight.LEADERLESS] * 5) * 100)
    assert decided is True
    assert seconds < PATIENCE_SECONDS + 2 * QUIET_SECONDS + 1
