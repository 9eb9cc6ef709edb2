"""The benchmark's table says what was measured and whether it is enough."""

import pytest

from tests.bench.figures import Figure, Target, table, with_peer, with_ratio

QUICK = Target(3.0)
MANY = Target(500, at_least=True)


@pytest.mark.parametrize(
    ("values", "target", "verdict"),
    [
        ((1.0, 2.0, 3.0), QUICK, "met"),
        ((1.0, 2.0, 9.0), QUICK, "met, median"),
        ((1.0, 4.0, 9.0), QUICK, "MISSED"),
        ((500.0, 900.0, 700.0), MANY, "met"),
        ((400.0, 900.0, 700.0), MANY, "met, median"),
        ((400.0, 300.0, 700.0), MANY, "MISSED"),
        ((1.0,), None, ""),
    ],
)
def test_a_figure_is_met_by_its_worst_round_or_says_that_it_is_not(values, target, verdict):
    assert Figure("f", "s", values, target).verdict == verdict


def test_the_worst_of_a_rate_is_the_least():
    assert Figure("rate", "/s", (3.0, 1.0, 2.0), worst_is_least=True).worst == 1.0
    assert Figure("time", "s", (3.0, 1.0, 2.0)).worst == 3.0


def test_the_table_shows_target_median_worst_and_swarm_and_its_columns_are_aligned():
    lines = table([Figure("create", "s", (1.0, 2.5), QUICK, "6.8 s"), Figure("writes", "/s", (5123.4,), MANY)]).split(
        "\n"
    )
    cells = [cell.strip() for cell in lines[2].split("  ") if cell]
    assert cells == ["create", "≤ 3.00 s", "1.75 s", "2.50 s", "2", "met", "6.8 s"]
    assert lines[0].index("Docker Swarm") == lines[2].index("6.8 s")
    assert "≥ 500 /s" in lines[3]
    assert "5,123 /s" in lines[3]
    assert "this run" not in lines[0]


def test_what_the_peer_reached_stands_beside_the_figure_of_its_name():
    figures = with_peer(
        [Figure("create", "s", (1.0,)), Figure("store", "/s", (1.0,))], [Figure("create", "s", (7.0, 8.0))]
    )
    lines = table(figures).split("\n")
    assert lines[0].endswith("Swarm, this run")
    assert lines[2].endswith("7.50 s")
    assert "7.50 s" not in lines[3]


def test_a_target_may_bound_the_median_and_the_worst_round_apart() -> None:
    target = Target(1.5, worst=3.0)
    assert Figure("x", "s", (1.2, 1.4, 2.9), target).verdict == "met"
    assert Figure("x", "s", (1.2, 1.4, 3.1), target).verdict == "met, median"
    assert Figure("x", "s", (1.2, 1.6, 2.0), target).verdict == "MISSED"
    assert "≤ 1.50 s, 3.00 s" in table([Figure("x", "s", (1.0,), target)])


def test_the_ratio_to_the_peer_is_a_figure_of_its_own_when_both_were_measured():
    own, peer = Figure("TCP, overlay", "Gbit/s", (6.0, 8.0, 1.0)), Figure("TCP, overlay", "Gbit/s", (3.0, 4.0, 90.0))
    [_, ratio] = with_ratio(with_peer([own], [peer]), "TCP, overlay", Target(1.0, at_least=True))
    assert (ratio.name, ratio.values, ratio.verdict) == ("TCP, overlay, Covey / Docker, of the medians", (1.5,), "met")
    assert with_ratio([own], "TCP, overlay", Target(1.0)) == [own]
