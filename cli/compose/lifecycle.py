"""Changes the state of a project's containers: in the order of their dependencies, several at a time."""

from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_jobs
from typing import Any

import click

from cli.compose.down_plan import DownOptions, container_steps, dependencies_of, plan_down
from cli.compose.executor import Executor
from cli.compose.lifecycle_plan import action_steps, restarted_services
from cli.compose.model import Application, ExistingContainer
from cli.compose.plan import orphaned
from cli.compose.run_steps import run_steps
from cli.compose.session import Session
from cli.compose.state import read_state
from cli.compose.steps import Action, Plan
from covey.errors import NotFoundError

_MAX_PARALLEL = 50


def run_action(
    session: Session,
    action: Action,
    services: tuple[str, ...],
    *,
    timeout: int | None = None,
    wait: bool = False,
    wait_timeout: float | None = None,
) -> None:
    """Start, stop or restart the containers of services, those of dependencies first or last.

    Raises:
        NotFoundError: a named service has no container.
    """
    application = session.known
    found = session.containers(services)
    if action == Action.START and not found:
        raise NotFoundError(f'no container found for project "{application.name}": not found')
    steps = action_steps(action, found, application, dependencies_of(application, found), wait=wait)
    session.run(Plan(steps), _executor(session, timeout=timeout, wait_timeout=wait_timeout))


def dependents_to_restart(application: Application, services: tuple[str, ...]) -> tuple[str, ...]:
    """The services with those that restart with them."""
    return restarted_services(application, services)


def for_containers(
    session: Session,
    containers: Iterable[ExistingContainer],
    verb: str,
    query: Mapping[str, Any],
    words: tuple[str, str],
) -> None:
    """One request for each container, all at the same time."""

    def act(item: ExistingContainer) -> None:
        session.progress.report(f"Container {item.name}", words[0])
        if not session.dry_run:
            session.daemon.post(f"/containers/{item.id}/{verb}", query)
        session.progress.report(f"Container {item.name}", words[1])

    with ThreadPoolExecutor(session.parallel if session.parallel > 0 else _MAX_PARALLEL) as pool:
        for job in [pool.submit(act, item) for item in containers]:
            job.result()


def remove_containers(session: Session, containers: list[ExistingContainer], *, volumes: bool = False) -> None:
    """Stop and remove containers."""
    steps = container_steps(containers, dependencies_of(session.known, containers))
    executor = _executor(session, volumes=volumes)
    run_steps(Plan(tuple(steps)).runnable(), executor.perform, parallel=session.parallel)


def remove_orphan_containers(session: Session) -> None:
    state = read_state(session.daemon, session.known.name)
    remove_containers(session, orphaned(session.known, state))


def wait_for_exit(session: Session, services: tuple[str, ...], *, first: bool) -> int:
    """Wait until the containers of services have ended, or the first of them; returns its exit code.

    Raises:
        NotFoundError: the services have no containers.
    """
    found = session.containers(services)
    if not found:
        raise NotFoundError(f'no containers for project "{session.known.name}"')

    def code(item: ExistingContainer) -> int:
        answer = session.daemon.call("POST", f"/containers/{item.id}/wait", {"condition": "not-running"}, patient=True)
        result = int(answer["StatusCode"])
        click.echo(f'container "{item.id}" exited with status code {result}')
        return result

    pool = ThreadPoolExecutor(min(len(found), _MAX_PARALLEL))
    try:
        jobs = [pool.submit(code, item) for item in found]
        if first:
            done, _ = wait_for_jobs(jobs, return_when=FIRST_COMPLETED)
            return next(iter(done)).result()
        return next((result for job in jobs if (result := job.result())), 0)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def down_whole_project(session: Session) -> None:
    state = session.state(session.known)
    session.run(plan_down(session.known, state, DownOptions()), _executor(session))


def _executor(
    session: Session, *, timeout: int | None = None, volumes: bool = False, wait_timeout: float | None = None
) -> Executor:
    application = session.known
    return Executor(
        session.daemon,
        application,
        read_state(session.daemon, application.name),
        session.progress,
        timeout=timeout,
        remove_volumes=volumes,
        wait_timeout=wait_timeout,
        dry_run=session.dry_run,
    )
