"""Progress bars of converging services on a terminal."""

import sys

from cli.format.progress import service_line
from cli.service.convergence import ServiceProgress
from cli.terminal.live_lines import LiveLines


class ProgressBars:
    """One line for each service, with the reason that delays it."""

    def __init__(self) -> None:
        self._lines = LiveLines(sys.stdout)

    def show(self, name: str, progress: ServiceProgress) -> None:
        note = (
            ("job complete" if progress.job else "converged")
            if progress.converged
            else progress.summary.partition("; ")[2]
        )
        one_line = " ".join(note.split())
        self._lines.draw(name, lambda columns: service_line(name, progress.done, progress.desired, one_line, columns))

    def close(self) -> None:
        self._lines.end_block()
