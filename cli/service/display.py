"""How the progress of converging services is shown: bars on a terminal, a line for each change elsewhere, nothing if quiet."""

import sys
from typing import Protocol

import click

from cli.service.convergence import ServiceProgress


class Display(Protocol):
    def show(self, name: str, progress: ServiceProgress) -> None: ...
    def close(self) -> None: ...


def display(*, quiet: bool) -> Display:
    """The display for the standard output."""
    if quiet:
        return _QuietDisplay()
    if not sys.stdout.isatty():
        return _LineDisplay()
    from cli.service.progress_bars import ProgressBars

    return ProgressBars()


class _LineDisplay:
    """Prints a line for each change."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}

    def show(self, name: str, progress: ServiceProgress) -> None:
        line = f"{name}: {progress.summary}"
        if self._shown.get(name) != line:
            self._shown[name] = line
            click.echo(line)

    def close(self) -> None:
        return


class _QuietDisplay:
    def show(self, name: str, progress: ServiceProgress) -> None:
        del name, progress

    def close(self) -> None:
        return
