"""Images of services: which to pull or build before containers are made, and doing it."""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, NamedTuple

from cli.client import DaemonClient, DaemonError, path_segment
from cli.compose import labels
from cli.compose.model import Application, Values
from cli.compose.progress import Progress, Style
from cli.compose.session import Session
from cli.parse.platform import platform_text
from cli.registry.credentials import CredentialStore
from cli.registry.reference import parse_reference
from covey.errors import CoveyError, NotFoundError
from covey.quantities import parse_duration

BUILD, PULL = "build", "pull"
MAX_PARALLEL = 8
_PERIODS = {"daily": 86400.0, "weekly": 7 * 86400.0}
_UNITS = {"w": 7 * 86400.0, "d": 86400.0}


class ImageStep(NamedTuple):
    """What to do for the image of a service."""

    service: str
    image: str
    action: str


def plan_images(
    application: Application,
    names: Iterable[str],
    present: Mapping[str, str],
    ages: Mapping[str, float],
    *,
    pull: str = "policy",
    build: bool = False,
    no_build: bool = False,
) -> list[ImageStep]:
    """The images to build or pull; each once. Pure.

    Args:
        application: the project.
        names: the services that are brought up.
        present: ids of the images that the host has, by name.
        ages: seconds since images were last pulled, by name.
        pull: the policy for all services; ``policy`` is that of each service.
        build: build all images that can be built.
        no_build: build none.

    Raises:
        NotFoundError: an image is missing and may neither be pulled nor built.
    """
    found: dict[str, ImageStep] = {}
    for name in names:
        service = application.services[name]
        image = labels.image_name(application.name, service, name)
        policy = pull if pull != "policy" else str(service.get("pull_policy") or "missing")
        action = _action(
            service, policy, here=image in present, age=ages.get(image, 0.0), build=build, no_build=no_build
        )
        if not action and image not in present:
            remedy = "pull it" if service.get("image") else "build it"
            raise NotFoundError(
                f"No such image: {image}: the pull policy of service {name} is {policy}; {remedy} before"
            )
        if action and image not in found:
            found[image] = ImageStep(name, image, action)
    return list(found.values())


def _action(service: Values, policy: str, *, here: bool, age: float, build: bool, no_build: bool) -> str:
    buildable = bool(service.get("build")) and not no_build
    if buildable and (build or policy == "build" or (not here and policy not in ("always", "never"))):
        return BUILD
    if policy == "always":
        return PULL if service.get("image") else BUILD if buildable and not here else ""
    if not here:
        return PULL if policy != "never" and service.get("image") else ""
    period = refresh_period(policy)
    return PULL if period and age > period and service.get("image") else ""


def refresh_period(policy: str) -> float:
    """Seconds after which an image is pulled again; 0 for policies without a period."""
    if policy in _PERIODS:
        return _PERIODS[policy]
    text = policy.removeprefix("every_")
    if text == policy:
        return 0.0
    if text[-1] in _UNITS and text[:-1].isdigit():
        return int(text[:-1]) * _UNITS[text[-1]]
    return parse_duration(text) / 1e9


def prepare_images(
    session: Session, application: Application, names: list[str], present: Mapping[str, str], flags: Mapping[str, Any]
) -> bool:
    """Pull and build what is needed; returns whether anything was."""
    periodic = [
        labels.image_name(application.name, application.services[name], name)
        for name in names
        if refresh_period(str(application.services[name].get("pull_policy") or ""))
    ]
    ages = {image: _age(session.daemon, image) for image in periodic if image in present}
    steps = plan_images(
        application,
        names,
        present,
        ages,
        pull=flags.get("pull") or "policy",
        build=bool(flags.get("build")),
        no_build=bool(flags.get("no_build")),
    )
    pulls = [step for step in steps if step.action == PULL]
    pull_all(session, application, pulls, quiet=bool(flags.get("quiet_pull")))
    if builds := [step.service for step in steps if step.action == BUILD]:
        from cli.compose.builds import build_images

        build_images(session, application, builds, {"quiet": flags.get("quiet_build")})
    return bool(steps) and not session.dry_run


def pull_all(
    session: Session,
    application: Application,
    steps: Iterable[ImageStep],
    *,
    ignore: bool = False,
    quiet: bool = False,
) -> None:
    """Pull images, several at a time. ``ignore`` goes on after a failure, ``quiet`` shows no progress.

    Raises:
        CoveyError: the first failure.
    """
    listed = list(steps)
    if not listed:
        return
    with ThreadPoolExecutor(session.parallel if session.parallel > 0 else MAX_PARALLEL) as pool:
        progress = Progress(Style.QUIET) if quiet else session.progress
        jobs = [
            pool.submit(_pull, session, progress, application.services[step.service], step.image) for step in listed
        ]
    failures = [error for job in jobs if isinstance(error := job.exception(), CoveyError)]
    for job in jobs:
        if job.exception() is not None and not isinstance(job.exception(), CoveyError):
            job.result()
    if failures and not ignore:
        raise failures[0]


def _pull(session: Session, progress: Progress, service: Values, image: str) -> None:
    subject = f"Image {image}"
    progress.report(subject, "Pulling")
    if not session.dry_run:
        try:
            reference = parse_reference(image)
            query = {
                "fromImage": reference.name,
                "tag": reference.digest or reference.tag or "latest",
                "platform": platform_text(str(service.get("platform") or "")),
            }
            headers = CredentialStore().header(reference.credentials_key)
            for _ in session.daemon.lines("POST", "/images/create", query, headers=headers):
                pass
        except CoveyError as error:
            progress.report(subject, "Error", error.message)
            raise
    progress.report(subject, "Pulled")


def push_image(session: Session, image: str) -> None:
    """Push the image of a service."""
    subject = f"Image {image}"
    session.progress.report(subject, "Pushing")
    if not session.dry_run:
        reference = parse_reference(image)
        headers = CredentialStore().header(reference.credentials_key)
        path = f"/images/{path_segment(reference.name)}/push"
        for _ in session.daemon.lines("POST", path, {"tag": reference.tag or "latest"}, headers=headers):
            pass
    session.progress.report(subject, "Pushed")


def _age(daemon: DaemonClient, image: str) -> float:
    """Seconds since an image was last tagged by a pull or a build."""
    try:
        found = daemon.get(f"/images/{path_segment(image)}/json")
    except DaemonError:
        return 0.0
    stamp = str((found.get("Metadata") or {}).get("LastTagTime") or found.get("Created") or "")
    try:
        return time.time() - datetime.fromisoformat(stamp[:19] + "+00:00").timestamp()
    except ValueError:
        return 0.0
