"""Table, JSON and Go template output of rows for ``--format``. Pure.

A row maps field names, as templates use them, to values. Columns are at least ten wide and three apart, as in docker.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from covey.errors import InvalidArgumentError

MIN_WIDTH = 10
GAP = 3
Row = Mapping[str, Any]
Render = Callable[[Row], str]


class _StrictFields(dict[str, Any]):
    """A row that raises an error for an unknown field, as docker does."""

    def get(self, key: str, default: Any = None) -> Any:
        del default
        if key not in self:
            raise InvalidArgumentError(f"template: can't evaluate field {key}; fields are {', '.join(sorted(self))}")
        return self[key]


def render(rows: Iterable[Row], headers: Mapping[str, str], default: str, form: str = "") -> str:
    """The text of all rows, one line each. ``default`` is the template of the table format."""
    form = form.strip() if form else "table"
    if form == "json":
        return "".join(f"{json.dumps(dict(sorted(row.items())), ensure_ascii=False)}\n" for row in rows)
    if form == "table" or form.startswith(("table ", "table\t", "table{", "table\\t")):
        line = _renderer(form.removeprefix("table").lstrip() or default)
        return align([line(headers), *(line(row) for row in rows)])
    line = _renderer(form)
    return "".join(f"{line(row)}\n" for row in rows)


def _renderer(form: str) -> Render:
    """A function that makes the text of a row. A template of fields alone, as most are, needs no parser."""
    first, *tags = form.replace("\\t", "\t").split("{{")
    parts: list[tuple[str, str]] = []
    for tag in tags:
        name, end, text = tag.partition("}}")
        if not end or not name.startswith(".") or not name[1:].isidentifier() or "\\" in text:
            break
        parts.append((name[1:], text))
    if len(parts) < len(tags) or "\\" in first:
        from cli.format.template import Template

        template = Template(form)
        return lambda row: template.render(_StrictFields(row))
    return lambda row: first + "".join(f"{_field(row, name)}{text}" for name, text in parts)


def _field(row: Row, name: str) -> str:
    value = _StrictFields(row).get(name)
    if isinstance(value, str):
        return value
    from cli.format.template import go_text

    return go_text(value)


def align(lines: Sequence[str]) -> str:
    """Align tab-separated cells in columns. The last cell of a line is not padded."""
    cells = [part.split("\t") for line in lines for part in line.split("\n")]
    for column in range(max((len(row) for row in cells), default=0)):
        start = 0
        while start < len(cells):
            if len(cells[start]) - 1 <= column:
                start += 1
                continue
            end = start
            while end < len(cells) and len(cells[end]) - 1 > column:
                end += 1
            width = max(MIN_WIDTH, *(len(row[column]) + GAP for row in cells[start:end]))
            for row in cells[start:end]:
                row[column] = row[column].ljust(width)
            start = end
    return "".join(f"{''.join(row)}\n" for row in cells)


def truncate(text: str, length: int) -> str:
    """Truncate to a length, ending with an ellipsis."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def capitalize(word: str) -> str:
    """A state with its first letter in upper case."""
    return word[:1].upper() + word[1:]
