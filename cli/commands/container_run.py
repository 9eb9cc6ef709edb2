"""``covey run`` and ``covey create``: make a container, pull its image if it is missing, and run it."""

from pathlib import Path
from typing import Any

import click

from cli import options
from cli.client import DaemonClient, DaemonError, path_segment
from cli.command import command
from cli.completion import complete
from cli.config_file import config_path, load, proxy_variables
from cli.container.create_body import create_body
from cli.container.files import environment_flags, surroundings
from cli.container.options import ContainerCommand, container_options, refuse_windows_flags
from cli.container.start_errors import StartError, refused
from cli.parse.platform import platform_text
from covey.errors import CoveyError, InvalidArgumentError

_IMAGE = click.argument("image", metavar="IMAGE", shell_complete=complete("image"))
_COMMAND = click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARG...]")


@command("create", cls=ContainerCommand)
@_IMAGE
@_COMMAND
@container_options("create")
def create(image: str, command: tuple[str, ...], **flags: Any) -> int:
    """Create a new container."""
    with refused():
        click.echo(_create(options.client(), image, command, flags)[0])
    return 0


@command("run", cls=ContainerCommand)
@_IMAGE
@_COMMAND
@container_options("run")
def run(image: str, command: tuple[str, ...], **flags: Any) -> int:
    """Create and run a new container from an image.

    The exit code is that of the container: 125 if the daemon fails, 126 if the command cannot be invoked, 127 if it is not found.
    """
    from cli.container.session import Attachment, require_terminal, run_session

    daemon = options.client()
    with refused():
        if not flags["detach"]:
            require_terminal(stdin=bool(flags["interactive"]), tty=bool(flags["tty"]))
        identifier, body = _create(daemon, image, command, flags)
        attached = body["AttachStdin"] or body["AttachStdout"] or body["AttachStderr"]
        path = f"/containers/{path_segment(identifier)}"
        if not body["AttachStdout"] and not body["AttachStderr"]:
            click.echo(identifier)  # before the start, so that a container that does not start can be looked at
        if not attached:
            _start(daemon, path, remove=bool(flags["rm"]))
            return 0
        attachment = Attachment(
            tty=body["Tty"],
            stdin=body["AttachStdin"],
            stdout=body["AttachStdout"],
            stderr=body["AttachStderr"],
            detach_keys=options.detach_keys(flags["detach_keys"]),
            forward_signals=flags["sig_proxy"] is not False,
            condition="removed" if flags["rm"] else "next-exit",
        )
        return run_session(daemon, identifier, attachment, lambda: _start(daemon, path, remove=bool(flags["rm"]))).code


def _create(
    daemon: DaemonClient, image: str, command: tuple[str, ...], flags: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The id and the body of a new container. Its image is pulled where ``--pull`` says so."""
    from cli.registry.reference import parse_reference
    from cli.registry.transfer import note_missing, pull

    refuse_windows_flags(flags)
    flags["env"] = environment_flags(flags["env"])
    proxies = proxy_variables(load(config_path()), daemon.host)
    body = create_body(image, command, flags, surroundings(flags, daemon.host, proxies))
    cidfile = _new_cidfile(flags["cidfile"])
    policy, platform = flags["pull"] or "missing", platform_text(flags["platform"] or "")
    reference = None if _is_id(image) else parse_reference(image)
    query = {"name": flags["name"], "platform": platform}

    def fetch() -> None:
        if reference is not None:
            pull(daemon, reference, platform=platform, quiet=bool(flags["quiet"]), err=True)

    if policy == "always":
        fetch()
    try:
        answer = daemon.post("/containers/create", query, body)
    except DaemonError as error:
        if error.status != 404 or policy != "missing" or reference is None or "image" not in error.message.lower():
            raise
        if not flags["quiet"]:
            note_missing(reference)
        fetch()
        answer = daemon.post("/containers/create", query, body)
    for warning in answer.get("Warnings") or []:
        click.echo(f"WARNING: {warning}", err=True)
    if cidfile:
        cidfile.write_text(answer["Id"], encoding="utf-8")
    return str(answer["Id"]), body


def _start(daemon: DaemonClient, path: str, *, remove: bool) -> None:
    """Start the container. The error says with which code ``run`` ends."""
    try:
        daemon.call("POST", f"{path}/start", patient=True)
    except DaemonError as error:
        if remove:
            _await_removal(daemon, path)
        raise StartError(error) from error


def _await_removal(daemon: DaemonClient, path: str) -> None:
    """Wait for the end of a container that removes itself and did not start, so that its name is free."""
    try:
        daemon.delete(path, {"force": True, "v": True})
    except CoveyError:
        return  # it has removed itself already


def _new_cidfile(name: str | None) -> Path | None:
    """The file for the container's id, which must not exist yet.

    Raises:
        InvalidArgumentError: it exists, or its directory does not.
    """
    if not name:
        return None
    path = Path(name)
    if path.exists():
        raise InvalidArgumentError(
            f"container ID file found, make sure the other container isn't running or delete {name}"
        )
    if not path.parent.is_dir():
        raise InvalidArgumentError(f"failed to create the container ID file: {path.parent} is no directory")
    return path


def _is_id(text: str) -> bool:
    """Whether the image is named by its id."""
    bare = text.removeprefix("sha256:")
    return text.startswith("sha256:") or (len(bare) == 64 and set(bare) <= set("0123456789abcdef"))
