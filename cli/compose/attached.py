"""``up`` without ``-d``: follows the output of the containers, stops them on an interrupt, and ends when they have ended."""

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from cli.compose.down_plan import container_steps, dependencies_of
from cli.compose.executor import Executor
from cli.compose.logs import LogPrinter, use_colors
from cli.compose.model import Application, ExistingContainer
from cli.compose.run_steps import run_steps
from cli.compose.session import Session
from cli.compose.state import read_containers
from cli.compose.steps import Action, without_missing
from cli.polling import INTERRUPTED
from covey.errors import CoveyError, NotFoundError

if TYPE_CHECKING:
    from cli.compose.watch.watch import Watch

_POLL_SECONDS = 0.2


def follow_containers(  # noqa: PLR0917 - the parts of one up
    session: Session,
    application: Application,
    executor: Executor,
    names: tuple[str, ...],
    flags: Mapping[str, Any],
    watching: "Watch | None" = None,
) -> int:
    """Show the output of the services' containers until all have ended, or for as long as files are watched.

    Returns the exit code of ``up``.
    """
    if flags["exit_code_from"] and flags["exit_code_from"] not in application.services:
        raise NotFoundError(f"no such service: {flags['exit_code_from']}")
    found = [item for item in read_containers(session.daemon, application.name, one_off=False) if item.service in names]
    shown = [item for item in found if _is_attached(application, item, flags)]
    printer = LogPrinter(
        application.name,
        shown,
        colored=use_colors(session.flags["ansi"], no_color=flags["no_color"]),
        prefixed=not flags["no_log_prefix"],
    )
    follower = _Follower(session, application, executor, printer, flags)
    if watching is None:
        return follower.run(found, shown)
    return follower.watch(watching, names, found, shown)


def _is_attached(application: Application, item: ExistingContainer, flags: Mapping[str, Any]) -> bool:
    if flags["attached"]:
        return item.service in flags["attached"]
    return item.service not in flags["unattached"] and application.services[item.service].get("attach") is not False


class _Follower:
    """Follows containers in threads; the first exit may end all of them."""

    def __init__(
        self,
        session: Session,
        application: Application,
        executor: Executor,
        printer: LogPrinter,
        flags: Mapping[str, Any],
    ) -> None:
        self._session, self._application, self._executor = session, application, executor
        self._printer, self._flags = printer, flags
        self._codes: dict[str, int] = {}
        self._changed = threading.Condition()
        self._interrupts = 0
        self._watching: Watch | None = None
        self._found: list[ExistingContainer] = []
        self._shown: set[str] = set()
        self._threads: list[threading.Thread] = []

    def run(self, found: list[ExistingContainer], shown: list[ExistingContainer]) -> int:
        with self._interrupt_handler():
            self._follow(found, shown)
            ended = self._until_end()
            if ended is not None or self._interrupts:
                if self._watching is not None:
                    self._watching.stop()
                self._session.progress.notice("Gracefully Stopping... press Ctrl+C again to force")
                self._stop(self._found)
            for thread in self._threads:
                while thread.is_alive() and self._interrupts < 2:
                    thread.join(_POLL_SECONDS)
        return self._exit_code(ended)

    def watch(
        self,
        watching: "Watch",
        names: tuple[str, ...],
        found: list[ExistingContainer],
        shown: list[ExistingContainer],
    ) -> int:
        """Follow containers while files are watched: also those that are made anew or restarted for a change."""
        attached = {item.service for item in shown}

        def follow_again() -> None:
            listed = read_containers(self._session.daemon, self._application.name, one_off=False)
            with self._changed:
                known = {item.id for item in self._found}
                self._found = [item for item in listed if item.service in names]
            new = [item for item in listed if item.service in names and item.id not in known]
            self._follow(new, [item for item in new if item.service in attached])

        def run() -> None:
            try:
                watching.run()
            except CoveyError as error:
                self._session.progress.notice(f"WARN: files are not watched any more: {error.message}")
                self._watching = None

        self._watching = watching
        watching.on_done = follow_again
        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[0].start()
        return self.run(found, shown)

    def _follow(self, found: list[ExistingContainer], shown: list[ExistingContainer]) -> None:
        known = {item.id for item in self._found}
        self._found += [item for item in found if item.id not in known]
        query = {"follow": True, "timestamps": self._flags["timestamps"], "tail": "all"}
        threads = [threading.Thread(target=self._wait, args=(item,), daemon=True) for item in found]
        self._shown |= {item.id for item in shown}
        threads += [threading.Thread(target=self._copy, args=(item, query), daemon=True) for item in shown]
        self._threads += threads
        for thread in threads:
            thread.start()

    def _until_end(self) -> ExistingContainer | None:
        """Wait until all have ended or the user interrupts; a container whose end ends all is returned.

        While files are watched, the end of all containers is none, and what a change ends does not count.
        """
        aborting = self._flags["abort_on_container_exit"] or self._flags["exit_code_from"]
        with self._changed:
            while not self._interrupts:
                if self._watching is None or not self._watching.busy.is_set():
                    for item in self._found:
                        code = self._codes.get(item.id)
                        if code is not None and (aborting or (code and self._flags["abort_on_container_failure"])):
                            return item
                    if self._watching is None and len(self._codes) >= len(self._found):
                        break
                self._changed.wait(_POLL_SECONDS)
        return None

    def _exit_code(self, ended: ExistingContainer | None) -> int:
        if self._interrupts:
            return INTERRUPTED
        if chosen := self._flags["exit_code_from"]:
            return next((self._codes.get(item.id, 0) for item in self._found if item.service == chosen), 0)
        return self._codes.get(ended.id, 0) if ended is not None else 0

    def _wait(self, item: ExistingContainer) -> None:
        code, again = 0, True
        while again:
            again = False
            try:
                answer = self._session.daemon.call(
                    "POST", f"/containers/{item.id}/wait", {"condition": "not-running"}, patient=True
                )
                code, ended = int(answer.get("StatusCode", 0)), time.time()
                self._printer.note(item, f"exited with code {code}")
                again = self._runs_again(item, ended)
            except CoveyError as error:
                if self._watching is None:
                    self._session.progress.notice(f"{item.name}: {error.message}")
        with self._changed:
            self._codes[item.id] = code
            self._changed.notify_all()

    def _runs_again(self, item: ExistingContainer, ended: float) -> bool:
        """Whether a change of files has restarted a container that ended; then its output is followed further."""
        with self._changed:
            while self._watching is not None and self._watching.busy.is_set() and not self._interrupts:
                self._changed.wait(_POLL_SECONDS)
        if self._watching is None or self._interrupts:
            return False
        if not self._session.daemon.get(f"/containers/{item.id}/json")["State"]["Running"]:
            return False
        if item.id in self._shown:
            query = {"follow": True, "timestamps": self._flags["timestamps"], "since": f"{ended:.9f}"}
            threading.Thread(target=self._copy, args=(item, query), daemon=True).start()
        return True

    def _copy(self, item: ExistingContainer, query: Mapping[str, Any]) -> None:
        try:
            self._printer.copy(self._session.daemon, item, query)
        except CoveyError as error:
            self._session.progress.notice(f"{item.name}: {error.message}")

    def _stop(self, found: list[ExistingContainer]) -> None:
        steps = container_steps(found, dependencies_of(self._application, found))
        stops = without_missing([step for step in steps if step.action == Action.STOP])
        run_steps(stops, self._executor.perform, parallel=self._session.parallel)

    @contextmanager
    def _interrupt_handler(self) -> Iterator[None]:
        """The first interrupt stops the containers, the second one kills them."""

        def interrupt(_number: int, _frame: FrameType | None) -> None:
            self._interrupts += 1
            if self._interrupts > 1:
                raise KeyboardInterrupt

        previous = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
