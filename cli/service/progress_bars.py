"""Progress bars of converging services on a terminal, drawn with rich."""

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from cli.service.convergence import ServiceProgress


class ProgressBars:
    """One bar for each service, with the reason that delays it. Shown until ``close``."""

    def __init__(self) -> None:
        self._progress = RichProgress(
            TextColumn("{task.fields[name]}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[detail]}")
        )
        self._tasks: dict[str, TaskID] = {}
        self._progress.start()

    def show(self, name: str, progress: ServiceProgress) -> None:
        detail = "converged" if progress.converged else progress.summary.partition("; ")[2]
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task("", name=name, detail=detail, total=progress.desired)
        self._progress.update(
            self._tasks[name], completed=progress.running, total=progress.desired, name=name, detail=detail
        )

    def close(self) -> None:
        self._progress.stop()
