"""Tables, units, natural order and multiplexed frames, in docker's form."""

import pytest

from cli.format import units
from cli.format.sorting import natural_sort_key
from cli.format.table import align, render
from cli.rows.task import rows
from cli.terminal.multiplexed import read_frames
from covey import quantities
from covey.clock import HOUR, MINUTE, SECOND
from covey.errors import CoveyError, InvalidArgumentError

DAY = 24 * HOUR
HEADERS = {"ID": "ID", "Name": "NAME"}
ROWS = [{"ID": "1", "Name": "web"}, {"ID": "a-longer-one", "Name": ""}]


def test_columns_are_at_least_ten_wide_and_three_apart() -> None:
    assert render(ROWS, HEADERS, r"{{.ID}}\t{{.Name}}") == "ID             NAME\n1              web\na-longer-one   \n"
    assert align(["a\tb", "cc\td"]) == "a         b\ncc        d\n"


def test_a_table_template_has_headers_and_others_have_none() -> None:
    assert render(ROWS, HEADERS, "", r"table {{.Name}}: {{.ID}}") == "NAME: ID\nweb: 1\n: a-longer-one\n"
    assert render(ROWS, HEADERS, "", "{{.Name}}/{{.ID}}") == "web/1\n/a-longer-one\n"
    assert render(ROWS[:1], HEADERS, "", "json") == '{"ID": "1", "Name": "web"}\n'


def test_an_unknown_field_is_an_error_that_lists_the_fields() -> None:
    with pytest.raises(InvalidArgumentError, match="field Nmae; fields are ID, Name"):
        render(ROWS, HEADERS, "", "{{.Nmae}}")


def test_natural_order_compares_numbers_in_names() -> None:
    assert sorted(["web10", "web2", "web", "Web3", "web02"], key=natural_sort_key) == [
        "Web3",
        "web",
        "web2",
        "web02",
        "web10",
    ]


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("0", 0), ("5s", 5 * SECOND), ("1m30s", 90 * SECOND), ("1.5h", 90 * MINUTE), ("20ms", 20_000_000)],
)
def test_durations_are_parsed_as_in_go(text: str, nanoseconds: int) -> None:
    assert quantities.parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "5 s", "5d", "1m 30s"])
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="invalid duration"):
        quantities.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "count"), [("64m", 64 << 20), ("64MB", 64 << 20), ("1GiB", 1 << 30), ("10", 10), ("1.5k", 1536), ("2b", 2)]
)
def test_memory_sizes_are_powers_of_1024(text: str, count: int) -> None:
    assert quantities.parse_bytes(text) == count


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (0, "Less than a second"),
        (SECOND, "1 second"),
        (59 * SECOND, "59 seconds"),
        (61 * SECOND, "About a minute"),
        (2 * MINUTE, "2 minutes"),
        (70 * MINUTE, "About an hour"),
        (100 * MINUTE, "2 hours"),
        (47 * HOUR, "47 hours"),
        (3 * DAY, "3 days"),
        (20 * DAY, "2 weeks"),
        (70 * DAY, "2 months"),
        (800 * DAY, "2 years"),
    ],
)
def test_durations_are_printed_as_in_docker(span: int, words: str) -> None:
    assert units.human_duration(span) == words


def test_api_times_are_parsed_to_the_nanosecond() -> None:
    assert units.parse_time("1970-01-01T00:00:01.5Z") == 1_500_000_000
    assert units.parse_time("1970-01-01T02:00:01+02:00") == SECOND
    assert units.parse_time("0001-01-01T00:00:00Z") == 0
    assert units.go_time("2024-05-01T12:00:00.120Z") == "2024-05-01 12:00:00.12 +0000 UTC"
    assert quantities.go_duration(90 * SECOND) == "1m30s"
    assert quantities.go_duration(0) == "0s"


def test_sizes_have_three_or_four_digits() -> None:
    assert units.human_size(1_980_000, 3) == "1.98MB"
    assert units.human_binary_size(25276502016) == "23.54GiB"


def test_frames_are_found_wherever_chunks_are_cut() -> None:
    stream = b"\x01\0\0\0\0\0\0\x03out" + b"\x02\0\0\0\0\0\0\x03err" + b"\x01\0\0\0\0\0\0\0"
    whole = [(1, b"out"), (2, b"err"), (1, b"")]
    for size in (1, 2, 5, 100):
        assert list(read_frames(stream[at : at + size] for at in range(0, len(stream), size))) == whole


def test_an_error_frame_and_invalid_data_are_raised() -> None:
    with pytest.raises(CoveyError, match="gone"):
        list(read_frames([b"\x03\0\0\0\0\0\0\x04gone"]))
    with pytest.raises(CoveyError, match="not a multiplexed stream"):
        list(read_frames([b"plain text of a terminal"]))


def test_older_tasks_of_a_slot_are_marked_below_the_newest() -> None:
    def task(identifier: str, slot: int, created: str, state: str = "running") -> dict[str, object]:
        status = {"State": state, "Timestamp": "1970-01-01T00:00:05Z", "Err": "it was too long to be shown whole" * 2}
        return {
            "ID": identifier,
            "ServiceID": "s",
            "Slot": slot,
            "CreatedAt": created,
            "DesiredState": state,
            "Status": status,
        }

    tasks = [task("old", 1, "1"), task("ten", 10, "3"), task("new", 1, "2"), task("two", 2, "0")]
    listed = rows(tasks, {"s": "web"}, {}, 8 * SECOND, trunc=True, indent=True)
    assert [row["Name"] for row in listed] == ["web.1", " \\_ web.1", "web.2", "web.10"]
    assert [row["ID"] for row in listed] == ["new", "old", "two", "ten"]
    assert listed[0]["CurrentState"] == "Running 3 seconds ago"
    assert listed[0]["Error"] == '"it was too long to be shown w…"'
