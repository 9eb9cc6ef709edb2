"""Measures of the two engines take turns."""

from tests.bench.engine_pair import in_turns
from tests.bench.figures import ratio_of


def test_measures_take_turns_in_changing_order_and_the_first_round_does_not_count():
    order = []

    def measure(name, values):
        left = iter(values)
        return lambda: order.append(name) or next(left)

    taken = in_turns([measure("ours", [9.0, 1.0, 2.0]), measure("theirs", [8.0, 3.0, 4.0])], rounds=2)
    assert taken == [(1.0, 2.0), (3.0, 4.0)]
    assert order == ["theirs", "ours", "ours", "theirs", "theirs", "ours"]


def test_a_ratio_is_of_the_medians_and_shows_both():
    figure = ratio_of("build", 1.0, (1.0, 2.0, 9.0), (4.0, 4.0, 1.0))
    assert (figure.name, figure.values, figure.verdict) == ("build (2.00 s : 4.00 s)", (0.5,), "met")
