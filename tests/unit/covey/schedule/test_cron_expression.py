"""Cron expressions: what is refused, and the scheduled times over changes of a zone's clock."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.clock import SECOND
from covey.errors import InvalidArgumentError
from covey.schedule.cron_expression import last_time, next_time, require_expression, require_timezone

BERLIN = "Europe/Berlin"
ZONES = (
    "UTC",
    BERLIN,
    "America/New_York",
    "America/Havana",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Cairo",
)
LINES = (
    "* * * * *", "*/7 * * * *", "0 * * * *", "30 2 * * *", "15 0 * * *", "0 */2 * * *", "59 23 28-31 * *", "0 12 * * MON", "0 0 L * *",
    "*/20 * * * * *", "0 30 2 * * *", "5 30 2 * * *", "30 1-3 * * SUN", "@daily", "@hourly",
)  # fmt: skip


def at(text: str, zone: str = BERLIN, *, fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * SECOND


def times(line: str, start: str, count: int, zone: str = BERLIN) -> list[str]:
    moment, found = at(start, zone), []
    for _ in range(count):
        moment = next_time(line, zone, moment)
        found.append(datetime.fromtimestamp(moment // SECOND, ZoneInfo(zone)).strftime("%d %H:%M:%S%z"))
    return found


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0 31 2 *", "day-of-month"),
        ("0 0 31 4,6,9,11 *", "day-of-month"),
        ("* * */20 * 1L", "never comes"),
        ("61 * * * *", "minute"),
        ("* * * *", "it has 4 fields"),
        ("* * * * * * *", "it has 7 fields"),
        ("@reboot", "it has 1 fields"),
        ("a b c d e", "minute"),
        ("*/0 * * * *", "minute"),
        ("", "it has 0 fields"),
        ("1," * 200 + "1 * * * *", "the limit is 256"),
    ],
)
def test_lines_that_are_malformed_or_never_fire_are_refused(line: str, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        require_expression(line)


def test_a_leap_day_and_rare_weekdays_are_no_mistake() -> None:
    require_expression("0 0 29 2 *")
    require_expression("0 0 * 2 MON#5")


@pytest.mark.parametrize(
    "name", ["Europe/Atlantis", "../../etc/passwd", "/etc/localtime", "America", "localtime", "a\0b", "x" * 99]
)
def test_a_time_zone_that_is_none_or_differs_between_hosts_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="no time zone"):
        require_timezone(name)


def test_in_spring_a_daily_time_that_does_not_exist_comes_when_the_hour_is_over() -> None:
    assert times("30 2 * * *", "2026-03-28T12:00", 2) == ["29 03:00:00+0200", "30 02:30:00+0200"]
    assert times("0 * * * *", "2026-03-29T00:30", 3) == ["29 01:00:00+0100", "29 03:00:00+0200", "29 04:00:00+0200"]


def test_in_autumn_a_daily_time_comes_once_and_a_frequent_one_in_both_hours() -> None:
    assert times("30 2 * * *", "2026-10-24T12:00", 2) == ["25 02:30:00+0200", "26 02:30:00+0100"]
    assert times("30 * * * *", "2026-10-25T01:45", 3) == ["25 02:30:00+0200", "25 02:30:00+0100", "25 03:30:00+0100"]


def test_zero_seconds_before_a_line_change_nothing() -> None:
    assert times("0 30 2 * * *", "2026-03-28T12:00", 2) == times("30 2 * * *", "2026-03-28T12:00", 2)
    assert times("*/20 * * * * *", "2026-03-28T12:00", 3) == [
        f"28 12:{part}+0100" for part in ("00:20", "00:40", "01:00")
    ]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(LINES), st.sampled_from(ZONES), st.integers(1_700_000_000, 1_900_000_000), st.integers(1, 5))
def test_times_go_forward_over_every_change_of_a_clock(line: str, zone: str, start: int, count: int) -> None:
    """The last of them until a moment is found from any earlier one, and no time lies between two of them."""
    first = moment = next_time(line, zone, start * SECOND)
    assert moment > start * SECOND
    for _ in range(count):
        before, moment = moment, next_time(line, zone, moment)
        assert moment > before
        assert next_time(line, zone, (before + moment) // 2) == moment
    assert first <= last_time(line, zone, first, moment) <= moment
    assert last_time(line, "UTC", 0, moment) <= moment


@settings(max_examples=200, deadline=None)
@given(st.text("0123456789*/,-#LWabMONJ @²", max_size=40) | st.text(max_size=40))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        require_expression(text)
    except InvalidArgumentError:
        return
    assert next_time(text, "UTC", int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * SECOND)
