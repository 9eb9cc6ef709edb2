"""Shows the progress of steps: lines redrawn in place on a terminal, plain lines elsewhere, JSON for programs."""

import json
import sys
import threading
from enum import StrEnum
from typing import TextIO

from cli.terminal.live_lines import LiveLines

_GREEN, _RED, _YELLOW, _RESET = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"
_DONE = frozenset(
    (
        *("Created", "Started", "Removed", "Stopped", "Running", "Healthy", "Exited", "Recreated", "Restarted"),
        *("Pulled", "Built", "Killed", "Paused", "Unpaused", "Pushed", "Skipped", "Copied"),
    )
)


class Style(StrEnum):
    """How progress is shown."""

    AUTO = "auto"
    TTY = "tty"
    PLAIN = "plain"
    JSON = "json"
    QUIET = "quiet"


class Progress:
    """Shows the status of objects. Threads may report at the same time."""

    def __init__(self, style: str = Style.AUTO, *, dry_run: bool = False, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        live = style == Style.TTY or (style == Style.AUTO and self._out.isatty())
        self._lines = LiveLines(self._out) if live and not dry_run else None
        self._style, self._lock = style, threading.Lock()
        self._prefix = "DRY-RUN MODE - " if dry_run else ""

    def report(self, subject: str, status: str, detail: str = "") -> None:
        """Show the new status of an object, such as ``Container web-1`` and ``Started``."""
        if self._style == Style.QUIET:
            return
        with self._lock:
            if self._style == Style.JSON:
                document = {"id": subject, "status": status, **({"details": detail} if detail else {})}
                self._out.write(f"{json.dumps(document)}\n")
                self._out.flush()
            elif self._lines is not None:
                self._lines.draw(subject, lambda columns: _line(subject, status, detail, columns))
            else:
                more = f" {detail}" if detail else ""
                self._out.write(f"{self._prefix} {subject} {status}{more} \n")
                self._out.flush()

    def notice(self, text: str) -> None:
        """A line for the user."""
        if self._style == Style.QUIET:
            return
        with self._lock:
            if self._lines is not None:
                self._lines.end_block()
            self._out.write(f"{self._prefix}{text}\n")
            self._out.flush()


def _line(subject: str, status: str, detail: str, columns: int) -> str:
    done, failed = status in _DONE, status == "Error"
    mark, color = ("✔", _GREEN) if done else ("✘", _RED) if failed else ("⠿", _YELLOW)
    text = f" {subject}  {status} {detail}".rstrip()
    return f" {color}{mark}{_RESET}{text[: max(columns - 4, 10)]}"
