"""Lines of a terminal that are redrawn in place, each under its key."""

import os
from collections.abc import Callable
from typing import TextIO

DEFAULT_COLUMNS, DEFAULT_ROWS = 80, 24
_UP, _DOWN, _CLEAR = "\x1b[{}A", "\x1b[{}B", "\x1b[2K"


class LiveLines:
    """A block of lines at the end of the output. A line that has scrolled out of the terminal is no longer redrawn."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._keys: list[str] = []
        self._shown: dict[str, str] = {}

    def draw(self, key: str, render: Callable[[int], str]) -> None:
        """Draw a line anew; a new key begins a new line. ``render`` makes its text for a width."""
        columns, rows = self._size()
        text = render(columns)
        if self._shown.get(key) == text:
            return
        if key not in self._shown:
            self._keys.append(key)
            self._out.write(f"{text}\n")
        else:
            up = len(self._keys) - self._keys.index(key)
            if up >= rows:
                return
            self._out.write(f"{_UP.format(up)}\r{_CLEAR}{text}\r{_DOWN.format(up)}")
        self._shown[key] = text
        self._out.flush()

    def end_block(self) -> None:
        """Leave the lines as they are; what follows begins a new block."""
        self._keys.clear()
        self._shown.clear()

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._out.fileno())
        except OSError:
            return DEFAULT_COLUMNS, DEFAULT_ROWS
        return size.columns or DEFAULT_COLUMNS, size.lines or DEFAULT_ROWS
