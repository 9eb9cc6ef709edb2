"""Progress of long work as Docker's JSON messages. Pure."""

from typing import Any

from agent.image.model import Progress
from covey.errors import CoveyError

BAR_WIDTH = 50
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def message(progress: Progress) -> dict[str, Any]:
    """One line of a progress stream. `progress` is the bar that old clients print as it is."""
    if progress.aux is not None:
        return {"progressDetail": {}, "aux": dict(progress.aux)}
    if not progress.id and not progress.current:
        return {"status": progress.status}
    if progress.heading:
        return {"status": progress.status, "id": progress.id}
    if not progress.current:
        return {"status": progress.status, "progressDetail": {}, "id": progress.id}
    detail = {"current": progress.current, **({"total": progress.total} if progress.total else {})}
    return {
        "status": progress.status,
        "progressDetail": detail,
        "progress": bar(progress.current, progress.total),
        **({"id": progress.id} if progress.id else {}),
    }


def error(failure: CoveyError) -> dict[str, Any]:
    """The last line of a stream that failed."""
    return {"errorDetail": {"message": failure.message}, "error": failure.message}


def bar(current: int, total: int) -> str:
    """`[=====>     ]  1.2MB/12MB`, or the size alone if the total is unknown."""
    if total <= 0:
        return human_size(current)
    filled = min(current * BAR_WIDTH // total, BAR_WIDTH)
    arrow = "=" * (filled - 1) + ">" if filled else ">"
    if filled == BAR_WIDTH:
        arrow = "=" * BAR_WIDTH + ">"
    return f"[{arrow:<{BAR_WIDTH}}] {human_size(current):>8}/{human_size(total)}"


def human_size(size: int) -> str:
    """A size with four significant digits and decimal units, such as 1.234MB."""
    value, unit = float(size), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    return f"{value:.4g}{_UNITS[unit]}"
