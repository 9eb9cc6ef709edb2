"""Does what a plan of ``watch`` asks for, over the Engine API."""

import sys
from collections.abc import Mapping

import click

from cli.client import DaemonError
from cli.compose import labels
from cli.compose.builds import build_images
from cli.compose.executor import Executor
from cli.compose.hooks import run_hooks, run_to_end
from cli.compose.lifecycle import dependents_to_restart, run_action
from cli.compose.model import Application, ExistingContainer
from cli.compose.plan import ALWAYS, UpOptions, plan_up
from cli.compose.session import Session
from cli.compose.state import read_containers
from cli.compose.steps import Action, Plan
from cli.compose.watch.archive import pack_files
from cli.compose.watch.plan import Sync, WatchPlan
from cli.terminal.multiplexed import STDERR
from covey.errors import CoveyError, InvalidArgumentError

_ATTEMPTS = 3
"""How often a copy is tried while its files change."""
_REMOVED_AT_ONCE = 500
_IN_USE = (404, 409)


class WatchActions:
    """Does plans for one project. ``quiet`` hides the output of builds, ``prune`` removes the images that builds replace."""

    def __init__(self, session: Session, application: Application, *, quiet: bool, prune: bool) -> None:
        self._session, self._application = session, application
        self._quiet, self._prune = quiet, prune

    def run(self, plan: WatchPlan) -> None:
        """Do a plan.

        Raises:
            CoveyError: the first part that failed; those after it are not done.
        """
        if plan.rebuilds:
            self._rebuild(plan.rebuilds)
        for service, sync in plan.syncs.items():
            say(f'Syncing service "{service}" after {sync.count} changes were detected')
            self._sync(service, sync)
        if plan.restarts:
            run_action(self._session, Action.RESTART, dependents_to_restart(self._application, plan.restarts))
            say(f"service(s) {_quoted(plan.restarts)} restarted")
        for rule in plan.commands:
            for item in self._running(rule.service):
                if not self._session.dry_run:
                    run_hooks(self._session.daemon, item.id, item.name, (rule.hook,), _write)

    def copy(self, service: str, copies: Mapping[str, str]) -> None:
        """Copy local paths by their paths in the containers of a service."""
        if copies:
            self._sync(service, Sync(copies))

    def _rebuild(self, services: tuple[str, ...]) -> None:
        session, application = self._session, self._application
        say(f"Rebuilding service(s) {_quoted(services)} after changes were detected...")
        build_images(session, application, services, {"quiet": self._quiet})
        say(f"service(s) {_quoted(services)} successfully built")
        state = session.state(application)
        counts = {
            name: sum(item.service == name and not item.one_off for item in state.containers) for name in services
        }
        options = UpOptions(
            services=services,
            scale={name: count for name, count in counts.items() if count},
            recreate=ALWAYS,
            dependencies=False,
        )
        executor = Executor(session.daemon, application, state, session.progress, dry_run=session.dry_run)
        session.run(Plan(plan_up(application, state, options).steps), executor)
        if self._prune and not session.dry_run:
            self._prune_images()

    def _prune_images(self) -> None:
        """Remove the project's images that no name and no container refers to any more."""
        filters = {**labels.project_filter(self._application.name), "dangling": ["true"]}
        for image in self._session.daemon.get("/images/json", {"filters": filters}):
            try:
                self._session.daemon.delete(f"/images/{image['Id']}")
            except DaemonError as error:
                if error.status not in _IN_USE:
                    raise

    def _sync(self, service: str, sync: Sync) -> None:
        for item in self._running(service):
            if self._session.dry_run:
                continue
            self._remove(item, sync.removals)
            if sync.copies:
                self._copy(item, sync.copies)

    def _remove(self, item: ExistingContainer, paths: tuple[str, ...]) -> None:
        """Remove paths in a container with its own ``rm``, as the API has no request for it."""
        for start in range(0, len(paths), _REMOVED_AT_ONCE):
            some = paths[start : start + _REMOVED_AT_ONCE]
            hook = {"command": ["rm", "-rf", "--", *some], "user": "0"}
            code = run_to_end(self._session.daemon, item.id, hook)
            if code:
                raise CoveyError(
                    f"{item.name}: rm in the container ended with status {code}, so files may be left: {', '.join(some[:3])}"
                )

    def _copy(self, item: ExistingContainer, copies: Mapping[str, str]) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._session.daemon.open(
                    "PUT", f"/containers/{item.id}/archive", {"path": "/"}, stream=pack_files(copies)
                ):
                    return
            except InvalidArgumentError:  # a file changed while it was read
                if attempt == _ATTEMPTS:
                    raise

    def _running(self, service: str) -> list[ExistingContainer]:
        found = read_containers(self._session.daemon, self._application.name, one_off=False)
        return [item for item in found if item.service == service and item.state == "running"]


def say(text: str) -> None:
    """A line of ``watch`` on standard output."""
    click.echo(text)


def _write(stream: int, data: bytes) -> None:
    out = (sys.stderr if stream == STDERR else sys.stdout).buffer
    out.write(data)
    out.flush()


def _quoted(services: tuple[str, ...]) -> str:
    return "[{}]".format(" ".join(f'"{name}"' for name in services))
