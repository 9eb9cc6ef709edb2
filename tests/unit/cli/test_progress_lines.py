"""Lines of progress fit terminals of 80 and 120 columns without losing names and bars."""

import io
import re

import pytest

from cli.format.progress import bar, layer_line, service_line
from cli.terminal.live_lines import LiveLines
from cli.terminal.transfer_output import show_messages

LONG = (
    "No such image: registry.example/a/very/long/name/of/an/image/that/no/node/has:latest, try again later, or push it"
)


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", ["web", "a-name-of-thirty-characters-xx"])
def test_a_long_message_leaves_the_name_and_the_bar(columns: int, name: str) -> None:
    """Regression: behind a long message the name and the bar shrank to nothing."""
    line = service_line(name, 3, 10, LONG, columns)
    assert len(line) <= columns
    assert line.startswith(f"{name}  [")
    assert re.search(r"\[=+> *\]  3/10  No such image", line)
    assert line.endswith("…")


@pytest.mark.parametrize("columns", [80, 120])
def test_a_layer_has_its_id_its_bar_and_its_size(columns: int) -> None:
    line = layer_line("0123456789ab", "Downloading", 50_000_000, 200_000_000, columns)
    assert len(line) <= columns
    assert re.fullmatch(r"0123456789ab: Downloading  \[=+> *\]  50MB/200MB", line)
    assert layer_line("0123456789ab", "Pull complete", 0, 0, columns) == "0123456789ab: Pull complete"
    assert layer_line("0123456789ab", LONG * 2, 5, 0, columns).startswith("0123456789ab: No such")


@pytest.mark.parametrize("columns", [10, 20, 40])
def test_no_line_is_wider_than_a_narrow_terminal(columns: int) -> None:
    assert len(service_line("name", 1, 2, LONG, columns)) <= columns
    assert len(layer_line("0123456789ab", "Downloading", 1, 2, columns)) <= columns


@pytest.mark.parametrize(
    ("done", "total", "drawn"), [(0, 4, "[    ]"), (2, 4, "[=>  ]"), (4, 4, "[====]"), (9, 4, "[====]")]
)
def test_the_bar_shows_the_share(done: int, total: int, drawn: str) -> None:
    assert bar(done, total, 6) == drawn


def test_lines_are_drawn_once_and_redrawn_in_place() -> None:
    out = io.StringIO()
    lines = LiveLines(out)
    for key, text in (("a", "one"), ("b", "two"), ("a", "one"), ("a", "three")):
        lines.draw(key, lambda _, text=text: text)  # type: ignore[misc]
    assert out.getvalue() == "one\ntwo\n\x1b[2A\r\x1b[2Kthree\r\x1b[2B"


def test_elsewhere_each_change_is_a_line_and_steps_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    messages = [
        {"status": "Pulling from library/x", "id": "latest"},
        {"status": "Pulling fs layer", "progressDetail": {}, "id": "aa"},
        {"status": "Downloading", "progressDetail": {"current": 5, "total": 9}, "id": "aa"},
        {"status": "Pull complete", "progressDetail": {}, "id": "aa"},
        {"stream": "Loaded image: x:1\n"},
    ]
    show_messages(messages)
    assert capsys.readouterr().out == (
        "latest: Pulling from library/x\naa: Pulling fs layer\naa: Pull complete\nLoaded image: x:1\n"
    )
