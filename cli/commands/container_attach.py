"""``covey start`` and ``covey attach``: connect this terminal to the main process of a container."""

from typing import Any

import click

from cli import options, output
from cli.client import DaemonClient, path_segment
from cli.command import command, option
from covey.errors import CoveyError, InvalidArgumentError, UnsupportedError

_DETACH_KEYS = option("--detach-keys", default="", help="Override the key sequence for detaching a container")


@command()
@options.object_arguments("containers", "container")
@option("-a", "--attach", is_flag=True, help="Attach STDOUT/STDERR and forward signals")
@option("--checkpoint", default="", supported=False, help="Restore from this checkpoint")
@option("--checkpoint-dir", default="", supported=False, help="Use a custom checkpoint storage directory")
@_DETACH_KEYS
@option("-i", "--interactive", is_flag=True, help="Attach container's STDIN")
def start(*, containers: tuple[str, ...], attach: bool, interactive: bool, detach_keys: str, **checkpoint: str) -> int:
    """Start one or more stopped containers.

    With --attach the exit code is that of the container.
    """
    daemon, detach_keys = options.client(), options.detach_keys(detach_keys)
    if any(checkpoint.values()):
        raise UnsupportedError("--checkpoint: containers cannot be checkpointed")
    if attach or interactive:
        if len(containers) > 1:
            raise InvalidArgumentError("you cannot start and attach multiple containers at once")
        return _start_attached(daemon, containers[0], stdin=interactive, detach_keys=detach_keys)
    failed: list[str] = []

    def begin(ref: str) -> None:
        try:
            daemon.call("POST", f"/containers/{path_segment(ref)}/start", patient=True)
        except CoveyError:
            failed.append(ref)
            raise

    output.for_each(containers, begin)
    if failed:
        click.echo(f"covey: failed to start containers: {', '.join(failed)}", err=True)
    return int(bool(failed))


@command()
@options.object_argument("container", "running container")
@_DETACH_KEYS
@option("--no-stdin", is_flag=True, help="Do not attach STDIN")
@option("--sig-proxy/--no-sig-proxy", default=True, negation=False, help="Proxy all received signals to the process")
def attach(container: str, detach_keys: str, no_stdin: bool, sig_proxy: bool) -> int:
    """Attach local standard input, output, and error streams to a running container.

    The exit code is that of the container.
    """
    from cli.container.session import DETACHED, Attachment, require_terminal, run_session

    daemon, detach_keys = options.client(), options.detach_keys(detach_keys)
    found = _inspect(daemon, container)
    _check_running(found["State"])
    config = found["Config"]
    stdin = bool(config.get("OpenStdin")) and not no_stdin
    require_terminal(stdin=stdin, tty=bool(config.get("Tty")))
    attachment = Attachment(
        tty=bool(config.get("Tty")),
        stdin=stdin,
        detach_keys=detach_keys,
        forward_signals=sig_proxy,
        condition="not-running",
    )
    ended = run_session(daemon, found["Id"], attachment)
    if ended.detached:
        raise CoveyError(DETACHED)
    return ended.code


def _start_attached(daemon: DaemonClient, ref: str, *, stdin: bool, detach_keys: str) -> int:
    from cli.container.session import Attachment, require_terminal, run_session

    found = _inspect(daemon, ref)
    config, path = found["Config"], f"/containers/{found['Id']}"
    stdin = stdin and bool(config.get("OpenStdin"))
    require_terminal(stdin=stdin, tty=bool(config.get("Tty")))
    attachment = Attachment(
        tty=bool(config.get("Tty")),
        stdin=stdin,
        detach_keys=detach_keys,
        condition="removed" if (found.get("HostConfig") or {}).get("AutoRemove") else "next-exit",
    )
    return run_session(daemon, found["Id"], attachment, lambda: daemon.call("POST", f"{path}/start", patient=True)).code


def _inspect(daemon: DaemonClient, ref: str) -> Any:
    return daemon.get(f"/containers/{path_segment(ref)}/json")


def _check_running(state: Any) -> None:
    """Refuse to attach to a container that does nothing.

    Raises:
        InvalidArgumentError: it is stopped, paused or restarting.
    """
    if not state.get("Running"):
        raise InvalidArgumentError("cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise InvalidArgumentError("cannot attach to a paused container, unpause it first")
    if state.get("Restarting"):
        raise InvalidArgumentError("cannot attach to a restarting container, wait until it is running")
