"""Tables as Docker Compose's own printer writes them: columns of a least width, the last one as it is. Pure."""

from collections.abc import Sequence


def wide_table(rows: Sequence[Sequence[str]], *, least: int = 20, gap: int = 1) -> str:
    """The lines of rows of one length; ``least`` and ``gap`` are the width of a column and the space after its longest cell."""
    if not rows:
        return ""
    widths = [max(least, *(len(row[column]) + gap for row in rows)) for column in range(len(rows[0]) - 1)]
    lines = ("".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)) + row[-1] for row in rows)
    return "".join(f"{line}\n" for line in lines)
