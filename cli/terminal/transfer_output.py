"""Shows the messages of pull, push, load and import: bars on a terminal, elsewhere one line for each change."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from cli.format.progress import layer_line
from cli.terminal.live_lines import LiveLines


def show_messages(messages: Iterable[Mapping[str, Any]], *, quiet: bool = False, err: bool = False) -> None:
    """Print messages as they arrive. ``quiet`` reads them to the end without printing."""
    out = sys.stderr if err else sys.stdout
    show = _Bars(out).show if out.isatty() else _Lines(out).show
    for message in messages:
        if not quiet:
            show(message)


class _Lines:
    """A line for each change of status. The steps of a transfer are left out."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, message: Mapping[str, Any]) -> None:
        detail = message.get("progressDetail") or {}
        if message.get("stream"):
            self._out.write(str(message["stream"]))
        elif message.get("status") and not detail.get("current"):
            head = f"{message['id']}: " if message.get("id") else ""
            self._out.write(f"{head}{message['status']}\n")
        self._out.flush()


class _Bars:
    """A line for each layer, redrawn in place."""

    def __init__(self, out: TextIO) -> None:
        self._lines = LiveLines(out)
        self._out = out

    def show(self, message: Mapping[str, Any]) -> None:
        if message.get("stream"):
            self._lines.end_block()
            self._out.write(str(message["stream"]))
            self._out.flush()
            return
        identifier, status = str(message.get("id") or ""), str(message.get("status") or "")
        if not status:
            return
        detail = message.get("progressDetail") or {}
        done, total = int(detail.get("current") or 0), int(detail.get("total") or 0)
        if not identifier or "progressDetail" not in message:
            self._lines.end_block()
        key = identifier or status
        self._lines.draw(key, lambda columns: layer_line(identifier, status, done, total, columns))
        if not identifier:
            self._lines.end_block()
