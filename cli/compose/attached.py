"""``up`` without ``-d``: follows the output of the containers, stops them on an interrupt, and ends when they have ended."""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

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

_POLL_SECONDS = 0.2


def follow_containers(
    session: Session, application: Application, executor: Executor, names: tuple[str, ...], flags: Mapping[str, Any]
) -> int:
    """Show the output of the services' containers until all have ended; returns the exit code of ``up``."""
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
    return _Follower(session, application, executor, printer, flags).run(found, shown)


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

    def run(self, found: list[ExistingContainer], shown: list[ExistingContainer]) -> int:
        threads = [threading.Thread(target=self._wait, args=(item,), daemon=True) for item in found]
        query = {"follow": True, "timestamps": self._flags["timestamps"], "tail": "all"}
        threads += [threading.Thread(target=self._copy, args=(item, query), daemon=True) for item in shown]
        with self._interrupt_handler():
            for thread in threads:
                thread.start()
            ended = self._until_end(found)
            if ended is not None or self._interrupts:
                self._session.progress.notice("Gracefully Stopping... press Ctrl+C again to force")
                self._stop(found)
            for thread in threads:
                while thread.is_alive() and self._interrupts < 2:
                    thread.join(_POLL_SECONDS)
        return self._exit_code(ended, found)

    def _until_end(self, found: list[ExistingContainer]) -> ExistingContainer | None:
        """Wait until all have ended or the user interrupts; a container whose end ends all is returned."""
        by_id = {item.id: item for item in found}
        aborting = self._flags["abort_on_container_exit"] or self._flags["exit_code_from"]
        with self._changed:
            while len(self._codes) < len(found) and not self._interrupts:
                for identifier, code in self._codes.items():
                    if aborting or (code and self._flags["abort_on_container_failure"]):
                        return by_id[identifier]
                self._changed.wait(_POLL_SECONDS)
            if aborting and self._codes and not self._interrupts:
                return by_id[next(iter(self._codes))]
        return None

    def _exit_code(self, ended: ExistingContainer | None, found: list[ExistingContainer]) -> int:
        if self._interrupts:
            return INTERRUPTED
        if chosen := self._flags["exit_code_from"]:
            return next((self._codes.get(item.id, 0) for item in found if item.service == chosen), 0)
        return self._codes.get(ended.id, 0) if ended is not None else 0

    def _wait(self, item: ExistingContainer) -> None:
        code = 0
        try:
            answer = self._session.daemon.call(
                "POST", f"/containers/{item.id}/wait", {"condition": "not-running"}, patient=True
            )
            code = int(answer.get("StatusCode", 0))
            self._printer.note(item, f"exited with code {code}")
        except CoveyError as error:
            self._session.progress.notice(f"{item.name}: {error.message}")
        with self._changed:
            self._codes[item.id] = code
            self._changed.notify_all()

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
