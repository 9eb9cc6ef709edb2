"""Lines of progress: a name, a bar and a note that fit the width of a terminal. Pure.

Invariant: no line is wider than the terminal. The note is cut first, then the bar goes, and the name is cut last.
"""

from cli.format.table import truncate
from cli.format.units import human_size

MAX_BAR, MIN_BAR = 40, 8
SERVICE_BAR = 22
BAR_FRAME = 2


def bar(done: float, total: float, width: int) -> str:
    """A bar such as ``[====>     ]`` that is ``width`` wide with its frame."""
    inside = width - BAR_FRAME
    full = inside if done >= total else int(inside * max(done, 0) / total) if total else 0
    head = ">" if full < inside and full else ""
    return f"[{('=' * (full - len(head)) + head).ljust(inside)}]"


def service_line(name: str, done: int, total: int, note: str, columns: int) -> str:
    """One service: its name, a bar, the count of its tasks and what delays it."""
    count = f"{done}/{total}"
    fixed = len(name) + len(count) + 4
    room = columns - fixed
    if room < MIN_BAR:
        return truncate(f"{name}  {count}  {note}".rstrip(), columns)
    width = min(SERVICE_BAR, max(MIN_BAR, room // 2))
    line = f"{name}  {bar(done, total, width)}  {count}"
    left = columns - len(line) - 2
    return f"{line}  {truncate(note, left)}" if note and left > 1 else line


def layer_line(identifier: str, status: str, done: int, total: int, columns: int) -> str:
    """One layer of an image that is pulled or pushed, with its size where it is known."""
    head = f"{identifier}: {status}" if identifier else status
    if not done and not total:
        return truncate(head, columns)
    size = f"{human_size(done, 3)}/{human_size(total, 3)}" if total else human_size(done, 3)
    room = columns - len(head) - len(size) - 4
    if total and room >= MIN_BAR:
        return f"{head}  {bar(done, total, min(MAX_BAR, room))}  {size}"
    return truncate(f"{head}  {size}", columns)
