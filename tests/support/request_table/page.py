"""The parts of docs/compatibility.md that the request table states: known differences, and fields that came or went.

``python -m tests.support.request_table.page`` writes them into the page; a test checks that the page has them.
"""

from pathlib import Path

from tests.support.request_table.deviations import (
    DIFFERENCES,
    EMPTY_FIELDS,
    FILLED_FIELDS,
    GONE_FIELDS,
    HIDDEN_FIELDS,
    NEWER_FIELDS,
)

PAGE = Path(__file__).resolve().parents[3] / "docs" / "compatibility.md"
BEGIN = "<!-- request table: begin -->"
END = "<!-- request table: end -->"
MOST_ROWS = 5


def section() -> str:
    """The generated section, with its marks."""
    lines = [BEGIN, "", "| difference | requests |", "|---|---|"]
    lines += [f"| {difference.reason} | {_some(difference.rows)} |" for difference in DIFFERENCES]
    fields = (
        ("Fields that newer versions of the API added are shown to older clients too: ", NEWER_FIELDS),
        ("Fields that newer versions removed are not shown: ", GONE_FIELDS),
        ("These are `{}` or `[]` when empty, where Docker 20.10 writes `null`: ", EMPTY_FIELDS),
        ("These are always shown, with the value in force: ", FILLED_FIELDS),
        ("Details of Docker's storage are not shown: ", HIDDEN_FIELDS),
    )
    for words, names in fields:
        lines += ["", words + (", ".join(f"`{name.lstrip('^.')}`" for name in names) or "none") + "."]
    return "\n".join([*lines, "", END])


def written_section(page: str) -> str:
    """The section as it stands in the page."""
    return page[page.index(BEGIN) : page.index(END) + len(END)]


def _some(rows: tuple[str, ...]) -> str:
    requests = list(dict.fromkeys(row.partition(": ")[2] for row in rows))
    more = f" and {len(requests) - MOST_ROWS} more" if len(requests) > MOST_ROWS else ""
    return "; ".join(f"`{request}`" for request in requests[:MOST_ROWS]) + more


if __name__ == "__main__":
    text = PAGE.read_text()
    PAGE.write_text(text.replace(written_section(text), section()))
