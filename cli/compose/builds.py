"""Builds the images of services: the request for a service's ``build`` section, and sending it with the context."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from cli.build import context, parameters
from cli.compose import labels
from cli.compose.model import Application, Values
from cli.compose.session import Session
from cli.registry.credentials import CredentialStore, encode
from covey.errors import CoveyError, UnsupportedError

_UNSUPPORTED = ("additional_contexts", "ssh", "secrets", "entitlements", "privileged")


def build_query(application: Application, name: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of POST /build for a service. Pure.

    Args:
        application: the project.
        name: the service.
        flags: ``pull``, ``no_cache``, ``build_args``, ``memory`` of the command.

    Raises:
        UnsupportedError: a key of the build that this builder does not know.
    """
    service = application.services[name]
    build: Values = service["build"]
    for key in _UNSUPPORTED:
        if build.get(key):
            raise UnsupportedError(
                f"services.{name}.build.{key} needs BuildKit, which this host does not have: remove it"
            )
    arguments = {**(build.get("args") or {}), **(flags.get("build_args") or {})}
    tags = (labels.image_name(application.name, service, name), *(build.get("tags") or ()))
    query = {
        "t": tags,
        "buildargs": parameters.compact(arguments),
        "labels": parameters.compact({**(build.get("labels") or {}), **image_labels(application.name, name)}),
        "cachefrom": parameters.compact(build.get("cache_from") or []),
        "extrahosts": tuple(line.replace("=", ":", 1) for line in build.get("extra_hosts") or ()),
        "networkmode": build.get("network", ""),
        "target": build.get("target", ""),
        "shmsize": build.get("shm_size", ""),
        "memory": flags.get("memory") or "",
        "nocache": bool(build.get("no_cache") or flags.get("no_cache")),
        "pull": bool(build.get("pull") or flags.get("pull")),
        "platform": next(iter(build.get("platforms") or ()), service.get("platform", "")),
        "rm": True,
    }
    return {key: value for key, value in query.items() if value not in ("", (), False)}


def image_labels(project: str, service: str) -> dict[str, str]:
    """The labels by which an image belongs to a project."""
    return {labels.PROJECT: project, labels.SERVICE: service, labels.VERSION: labels.FORMAT_VERSION}


def build_images(session: Session, application: Application, names: Iterable[str], flags: Mapping[str, Any]) -> None:
    """Build the images of services, one after another; the log goes to standard error unless ``quiet``.

    Raises:
        CoveyError: the first build that fails.
    """
    for name in names:
        image = labels.image_name(application.name, application.services[name], name)
        subject = f"Image {image}"
        session.progress.report(subject, "Building")
        query = build_query(application, name, flags)
        if not session.dry_run:
            try:
                _send(session, application.services[name]["build"], query, quiet=bool(flags.get("quiet")))
            except CoveyError as error:
                session.progress.report(subject, "Error", error.message)
                raise
        session.progress.report(subject, "Built")


def _send(session: Session, build: Values, query: dict[str, Any], *, quiet: bool) -> None:
    folder = str(build["context"])
    inline = build.get("dockerfile_inline")
    dockerfile = "" if inline else str(Path(folder, build.get("dockerfile") or "Dockerfile"))
    plan = context.plan_context(folder, dockerfile, inline.encode() if inline else None)
    headers = {"Content-Type": "application/x-tar", "X-Registry-Config": encode(CredentialStore().all())}
    query = {**query, "dockerfile": plan.dockerfile}
    for message in session.daemon.lines("POST", "/build", query, stream=context.pack(plan), headers=headers):
        if not quiet and (text := message.get("stream")):
            click.echo(text, nl=False, file=sys.stderr)
