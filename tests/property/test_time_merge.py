"""Time merge: a law over random sources, with a clock of its own."""

from hypothesis import given
from hypothesis import strategies as st

from covey.time_merge import TimeMerge

SOURCES = st.lists(st.lists(st.integers(0, 50), max_size=8).map(sorted), min_size=1, max_size=5)
HOLD = 1.0


def drain(merge: TimeMerge[tuple[int, int, int]], now: float) -> list[tuple[int, int, int]]:
    found = []
    while (item := merge.take(now)) is not None:
        found.append(item)
    return found


@given(SOURCES, st.randoms(use_true_random=False))
def test_closed_sources_are_merged_completely_and_in_order(sources: list[list[int]], random: object) -> None:
    """Items arrive in any interleaving of the sources, and are taken whenever possible."""
    merge: TimeMerge[tuple[int, int, int]] = TimeMerge()
    for key in range(len(sources)):
        merge.open(key, 0.0)
    left = {key: list(enumerate(times)) for key, times in enumerate(sources)}
    taken: list[tuple[int, int, int]] = []
    while left:
        key = random.choice(sorted(left))  # type: ignore[attr-defined]
        if left[key]:
            number, time_ns = left[key].pop(0)
            merge.put(key, time_ns, (time_ns, key, number), 0.0)
        else:
            merge.close(key)
            del left[key]
        taken += drain(merge, 0.0)
    assert [time_ns for time_ns, _, _ in taken] == sorted(time_ns for times in sources for time_ns in times)
    for key, times in enumerate(sources):
        assert [number for _, of, number in taken if of == key] == list(range(len(times)))
    assert len(merge) == 0


@given(SOURCES, st.lists(st.floats(0, 5), min_size=40, max_size=40))
def test_an_item_waits_for_a_silent_source_no_longer_than_the_hold(
    sources: list[list[int]], delays: list[float]
) -> None:
    merge: TimeMerge[tuple[int, int, int]] = TimeMerge(HOLD)
    merge.open("silent", 0.0)
    merge.touch("silent", 0.0)
    now, given = 0.0, 0
    for key, times in enumerate(sources):
        merge.open(key, now)
        merge.touch(key, now)
        for number, time_ns in enumerate(times):
            now += delays[given]
            given += 1
            merge.put(key, time_ns, (time_ns, key, number), now)
            assert merge.take(now) is None or merge.ready_at(now) <= now + HOLD
    assert merge.ready_at(now) in {float("inf"), now} or merge.ready_at(now) <= now + HOLD
    drain(merge, now + HOLD)
    assert merge.ready_at(now + HOLD) == float("inf"), "nothing is left behind"


def test_a_source_that_was_never_heard_of_is_waited_for_longer() -> None:
    merge: TimeMerge[str] = TimeMerge(0.2, 1.0)
    merge.open("a", 0.0)
    merge.open("b", 0.0)
    merge.put("a", 10, "a", 0.1)
    assert merge.take(0.5) is None
    merge.put("b", 5, "b", 0.6)
    assert [merge.take(0.6), merge.take(0.6)] == ["b", None], "b was heard of, and may have more before 10"
    assert merge.take(0.81) == "a"
