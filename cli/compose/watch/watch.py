"""``covey compose watch`` and ``up --watch``: reads the rules, then does a plan for each batch of changes."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from cli.build.context import ignore_lines
from cli.compose.model import Application
from cli.compose.plan import selected_services
from cli.compose.session import Session
from cli.compose.up import bring_up, with_builds
from cli.compose.watch.actions import WatchActions, say
from cli.compose.watch.plan import plan_changes
from cli.compose.watch.rules import watch_rules
from cli.compose.watch.tree_watcher import TreeWatcher, watch_tops
from covey.errors import CoveyError


class Watch:
    """Watches the files of services and of those that they need.

    ``busy`` is set while containers may be made anew or restarted; ``on_done`` is called after that.

    Raises:
        CoveyError: no service has rules, a rule cannot be followed, or the kernel has no more watches.
    """

    def __init__(
        self,
        session: Session,
        application: Application,
        services: tuple[str, ...],
        *,
        quiet: bool = False,
        prune: bool = True,
    ) -> None:
        names = selected_services(application, services, dependencies=True)
        self._rules, notices = watch_rules(application, names, _context_lines(application, names))
        for notice in notices:
            session.progress.notice(f"WARN: {notice}")
        self._session = session
        self._actions = WatchActions(session, application, quiet=quiet, prune=prune)
        self._watcher: TreeWatcher | None = None
        self._stopping = False
        self.busy = threading.Event()
        self.on_done: Callable[[], None] = lambda: None

    def run(self) -> None:
        """Watch until ``stop``. A batch that fails is reported, and the next one is tried.

        Raises:
            CoveyError: the kernel has no more watches.
        """
        watcher = TreeWatcher(watch_tops(rule.path for rule in self._rules), self._enters, self._covers)
        self._watcher = watcher
        try:
            if self._stopping:
                return
            self._attempt(lambda: self._sync_first(watcher))
            say("Watch enabled")
            for batch in watcher.batches():
                self._attempt(lambda paths=batch: self._react(paths))  # type: ignore[misc]
        finally:
            self._watcher = None
            watcher.close()

    def stop(self) -> None:
        """Let ``run`` end; for any thread."""
        self._stopping = True
        if self._watcher is not None:
            self._watcher.stop()

    def _react(self, paths: frozenset[str]) -> None:
        plan = plan_changes(self._rules, {path: os.path.lexists(path) for path in sorted(paths)})
        if plan.rebuilds or plan.restarts:
            self.busy.set()
        try:
            self._actions.run(plan)
        finally:
            if self.busy.is_set():
                self.on_done()
                self.busy.clear()

    def _sync_first(self, watcher: TreeWatcher) -> None:
        """Copy the files of rules with ``initial_sync``."""
        wanted = [rule for rule in self._rules if rule.initial_sync]
        paths = watcher.paths() if wanted else []
        for rule in wanted:
            copies = {rule.container_path(path): path for path in paths if rule.covers(path)}
            self._actions.copy(rule.service, copies)

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except CoveyError as error:
            self._session.progress.notice(f"WARN: Error handling changed files: {error.message}")

    def _enters(self, folder: str) -> bool:
        return any(rule.enters(folder) for rule in self._rules)

    def _covers(self, path: str) -> bool:
        return any(rule.covers(path) for rule in self._rules)


def bring_up_watched(session: Session, services: tuple[str, ...], *, quiet: bool) -> None:
    """Build what is built and watched, and bring the services up in the background."""
    session.application = with_builds(session.application)
    bring_up(session, services, {"scales": (), "detach": True, "quiet_pull": quiet, "quiet_build": quiet})


def _context_lines(application: Application, names: list[str]) -> dict[str, list[str]]:
    """The lines of each service's ``.dockerignore``."""
    found = {}
    for name in names:
        build = application.services[name].get("build") or {}
        context = Path(str(build.get("context", "")))
        if context.is_absolute() and context.is_dir():
            found[name] = ignore_lines(context, str(build.get("dockerfile") or "Dockerfile"))
    return found
