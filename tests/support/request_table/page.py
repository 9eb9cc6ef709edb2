"""The parts of docs/compatibility.md that the request table states: known differences, and fields that came or went.

``python -m tests.support.request_table.page`` writes them into the page; a test checks that the page has them.
"""

from pathlib import Path

from tests.support.request_table.deviations import GONE_FIELDS, NEWER_FIELDS, REASONS
from tests.support.request_table.table import titled_rows

PAGE = Path(__file__).resolve().parents[3] / "docs" / "compatibility.md"
BEGIN = "<!-- request table: begin -->"
END = "<!-- request table: end -->"


def section() -> str:
    """The generated section, with its marks."""
    lines = [BEGIN, "", "| difference | requests |", "|---|---|"]
    for key, reason in REASONS.items():
        rows = [
            f"`{row.method} {row.path}`" + (f" ({row.note})" if row.note else "")
            for _, row in titled_rows()
            if row.differs == key
        ]
        lines.append(f"| {reason} | {_some(rows)} |")
    lines += [
        "",
        "Fields that newer versions of the API added are shown to older clients too: " + _fields(NEWER_FIELDS),
    ]
    lines += ["", "Fields that newer versions removed or renamed are not shown: " + _fields(GONE_FIELDS), "", END]
    return "\n".join(lines)


def written_section(page: str) -> str:
    """The section as it stands in the page."""
    return page[page.index(BEGIN) : page.index(END) + len(END)]


def _some(rows: list[str], limit: int = 6) -> str:
    unique = list(dict.fromkeys(rows))
    more = f" and {len(unique) - limit} more" if len(unique) > limit else ""
    return "; ".join(unique[:limit]) + more


def _fields(fields: dict[str, str]) -> str:
    return ", ".join(f"`{name.lstrip('.')}`" for name in fields) + "." if fields else "none."


if __name__ == "__main__":
    text = PAGE.read_text()
    PAGE.write_text(text.replace(written_section(text), section()))
