"""Stack deployment: executes a plan in the order networks, secrets and configs, services, old versions of files."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event
from typing import Any

import click

from cli.client import DaemonClient, DaemonError
from cli.stack import plan
from cli.stack.prepare import BAD_REQUEST, ServiceImages, object_ids
from compose.stack.model import StackFile, StackService
from covey.errors import ConflictError, CoveyError

MAX_PARALLEL = 8


class Progress:
    """Prints each step, and what was done if one fails."""

    def __init__(self) -> None:
        self._done: list[str] = []

    @contextmanager
    def step(self, verb: str, what: str, note: str = "") -> Iterator[None]:
        click.echo(f"{verb} {what}{note}")
        try:
            yield
        except (CoveyError, KeyboardInterrupt):
            self._report_stop(what)
            raise
        self._done.append(what)

    def side_by_side(self, verb: str, steps: Mapping[str, Callable[[], object]]) -> None:
        """Several steps at a time. After a failure none begins, and those that have begun are waited for."""
        if not steps:
            return
        from concurrent.futures import ThreadPoolExecutor

        failures: dict[str, CoveyError] = {}
        interrupted = Event()

        def run(what: str) -> None:
            if failures or interrupted.is_set():
                return
            click.echo(f"{verb} {what}")
            try:
                steps[what]()
            except CoveyError as error:
                failures[what] = error
            else:
                self._done.append(what)

        with ThreadPoolExecutor(MAX_PARALLEL) as pool:
            try:
                list(pool.map(run, steps))
            except KeyboardInterrupt:
                interrupted.set()
                self._report_stop("an interrupt")
                raise
        for what, error in failures.items():
            self._report_stop(what)
            raise error

    def _report_stop(self, what: str) -> None:
        if self._done:
            done = ", ".join(self._done)
            text = (
                f"The deployment stopped at {what}. Done before: {done}. Nothing is undone; deploying again continues."
            )
            click.echo(text, err=True)


def deploy(daemon: DaemonClient, decided: plan.StackPlan, images: ServiceImages) -> list[str]:
    """Deploy a stack and return the names of its services.

    Raises:
        CoveyError: the daemon refuses. What was done so far remains and is named on standard error; deploying again continues.
    """
    progress = Progress()
    for kind, files in decided.files.items():  # first, because the daemon may refuse these
        for current, file in files.update:
            _update_file(daemon, kind, current, file)
    for item in decided.services.prune:
        with progress.step("Removing", f"service {item['Spec']['Name']}"):
            daemon.delete(f"/services/{item['ID']}")
    for network in decided.networks:
        with progress.step("Creating", f"network {network.name}"):
            daemon.post("/networks/create", body=network.body)
    for kind, files in decided.files.items():
        for file in files.create:
            with progress.step("Creating", f"{kind} {file.name}"):
                daemon.post(f"/{kind}s/create", body=_file_body(file))
    _deploy_services(daemon, decided, images, progress)
    for kind, item in decided.old_files:
        with progress.step("Removing", f"{kind} {item['Spec']['Name']}"):
            _remove_old(daemon, kind, item["ID"])
    return [service.name for service in decided.stack.services]


def _deploy_services(daemon: DaemonClient, decided: plan.StackPlan, images: ServiceImages, progress: Progress) -> None:
    created = any(files.create for files in decided.files.values())
    ids = {kind: object_ids(daemon.get(f"/{kind}s")) if created else {} for kind in decided.files}

    def final(service: StackService) -> StackService:
        return plan.resolve_ids(service, ids["secret"], ids["config"]) if created else service

    def creation(service: StackService) -> Callable[[], object]:
        headers = images.headers(service.spec)
        return lambda: daemon.call("POST", "/services/create", body=service.spec, headers=headers)

    new = [final(wanted) for wanted in decided.services.create]
    progress.side_by_side("Creating", {f"service {service.name}": creation(service) for service in new})
    for item, wanted in decided.services.update:
        service = final(wanted)
        headers = images.headers(service.spec)
        query = {"version": item["Version"]["Index"], "registryAuthFrom": "" if headers else "spec"}
        with progress.step("Updating", f"service {service.name}", f" (id: {item['ID']})"):
            body = plan.update_body(item, service)
            daemon.call("POST", f"/services/{item['ID']}/update", query, body, headers=headers)
    for _, service in decided.services.unchanged:
        click.echo(f"Service {service.name} is unchanged")


def _file_body(item: StackFile) -> dict[str, Any]:
    return {
        "Name": item.name,
        "Labels": item.labels,
        **({"Data": plan.encoded(item)} if item.data is not None else {}),
        **({"Driver": item.driver} if item.driver else {}),
        **({"Templating": {"Name": item.template_driver}} if item.template_driver else {}),
    }


def _update_file(daemon: DaemonClient, kind: str, current: Mapping[str, Any], item: StackFile) -> None:
    """Send a file with its content: the daemon refuses it if that differs."""
    try:
        daemon.post(f"/{kind}s/{current['ID']}/update", {"version": _version(daemon, kind, current)}, _file_body(item))
    except DaemonError as error:
        if error.status == BAD_REQUEST and "labels" in error.message.lower():
            raise ConflictError(
                f"{kind} {item.name} exists with different content, which cannot be changed: give the new one another "
                f"name ({kind}s.{item.key}.name), or none, so that its name follows the content; "
                f"the daemon says: {error.message}"
            ) from error
        raise


def _version(daemon: DaemonClient, kind: str, current: Mapping[str, Any]) -> int:
    """The object's version now: comparing a secret makes a new one."""
    return int(daemon.get(f"/{kind}s/{current['ID']}")["Version"]["Index"])


def _remove_old(daemon: DaemonClient, kind: str, object_id: str) -> None:
    """Remove an old version of a file; another deployment or service may have come first."""
    try:
        daemon.delete(f"/{kind}s/{object_id}")
    except DaemonError as error:
        if error.status != 404 and "in use" not in error.message:
            raise
