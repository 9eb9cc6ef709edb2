"""``covey exec`` and ``covey service exec``: run a command in a container, of this host or of a task, with this terminal."""

from collections.abc import Callable
from typing import Any

import click

from cli import options
from cli.client import DaemonClient, path_segment
from cli.command import command, option
from covey.errors import CoveyError

_OPTIONS = (
    click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARG...]"),
    option("-d", "--detach", is_flag=True, help="Detached mode: run command in the background"),
    option("--detach-keys", default="", help="Override the key sequence for detaching a container"),
    option("-e", "--env", multiple=True, help="Set environment variables"),
    option("--env-file", "env_files", multiple=True, help="Read in a file of environment variables"),
    option("-i", "--interactive", is_flag=True, help="Keep STDIN open even if not attached"),
    option("--privileged", is_flag=True, help="Give extended privileges to the command"),
    option("-t", "--tty", is_flag=True, help="Allocate a pseudo-TTY"),
    option("-u", "--user", default="", help="Username or UID (format: <name|uid>[:<group|gid>])"),
    option("-w", "--workdir", default="", help="Working directory inside the container"),
)


def _exec_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for decorate in reversed(_OPTIONS):
        function = decorate(function)
    return function


@command("exec", context_settings={"allow_interspersed_args": False})
@options.object_argument("container", "running container")
@_exec_options
def exec_(container: str, **settings: Any) -> int:
    """Execute a command in a running container.

    On a manager, CONTAINER may also be the id of a task, the name of its container, or SERVICE.SLOT, on any node. The exit code
    is that of the command.
    """
    from cli.container.container_path import container_path

    daemon = options.client()
    return _run(daemon, container_path(daemon, container), **settings)


@command("exec", context_settings={"allow_interspersed_args": False})
@options.object_argument("service", "service", metavar="SERVICE[.SLOT]")
@_exec_options
def service_exec(service: str, **settings: Any) -> int:
    """Execute a command in a running task of a service, on any node.

    Without a slot, the running task with the lowest slot is taken. The exit code is that of the command.
    """
    from cli.service.running_task import running_task

    daemon = options.client()
    return _run(daemon, f"/tasks/{path_segment(running_task(daemon, service))}", **settings)


def _run(
    daemon: DaemonClient,
    path: str,
    *,
    command: tuple[str, ...],
    detach: bool,
    interactive: bool,
    tty: bool,
    **settings: Any,
) -> int:
    """Run the command in the container or task at this path of the API. Returns its exit code."""
    from cli.container.files import environment_flags, terminal_size
    from cli.container.session import DETACHED, require_terminal
    from cli.parse.environment import environment_variables
    from cli.terminal.hijacked import TerminalSession

    keys = options.detach_keys(settings["detach_keys"])
    if not detach:
        require_terminal(stdin=interactive, tty=tty)
    body = {
        "Cmd": list(command),
        "Env": [*environment_variables((), settings["env_files"]), *environment_flags(settings["env"])],
        "AttachStdin": interactive and not detach,
        "AttachStdout": not detach,
        "AttachStderr": not detach,
        "Detach": detach,
        "Tty": tty,
        "Privileged": settings["privileged"],
        "User": settings["user"],
        "WorkingDir": settings["workdir"],
        "DetachKeys": keys,
    }
    console = {"ConsoleSize": list(terminal_size())} if tty else {}
    identifier = daemon.post(f"{path}/exec", body={**body, **console})["Id"]
    if detach:
        daemon.post(f"/exec/{identifier}/start", body={"Detach": True, "Tty": tty, **console})
        return 0
    stream, kind = daemon.hijack("POST", f"/exec/{identifier}/start", body={"Detach": False, "Tty": tty, **console})
    with TerminalSession(stream, kind, tty=tty, stdin=interactive, detach_keys=keys) as session:
        detached = session.run(
            lambda height, width: daemon.post(f"/exec/{identifier}/resize", {"h": height, "w": width})
        )
    if detached:
        raise CoveyError(DETACHED)
    found = daemon.get(f"/exec/{identifier}/json")
    if found.get("Running"):
        raise CoveyError("lost the connection to the command, which still runs")
    return int(found.get("ExitCode") or 0)
