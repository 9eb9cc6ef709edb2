"""``covey exec``: runs a command in a container with this terminal."""

from typing import Any

import click

from cli import options
from cli.client import path_segment
from cli.command import command, option
from covey.errors import CoveyError


@command("exec", context_settings={"allow_interspersed_args": False})
@options.object_argument("container", "running container")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARG...]")
@option("-d", "--detach", is_flag=True, help="Detached mode: run command in the background")
@option("--detach-keys", default="", help="Override the key sequence for detaching a container")
@option("-e", "--env", multiple=True, help="Set environment variables")
@option("--env-file", "env_files", multiple=True, help="Read in a file of environment variables")
@option("-i", "--interactive", is_flag=True, help="Keep STDIN open even if not attached")
@option("--privileged", is_flag=True, help="Give extended privileges to the command")
@option("-t", "--tty", is_flag=True, help="Allocate a pseudo-TTY")
@option("-u", "--user", default="", help="Username or UID (format: <name|uid>[:<group|gid>])")
@option("-w", "--workdir", default="", help="Working directory inside the container")
def exec_(container: str, command: tuple[str, ...], detach: bool, interactive: bool, tty: bool, **settings: Any) -> int:
    """Execute a command in a running container.

    The exit code is that of the command.
    """
    from cli.container.files import environment_flags, terminal_size
    from cli.container.session import DETACHED, require_terminal
    from cli.parse.environment import environment_variables
    from cli.terminal.hijacked import TerminalSession

    daemon, keys = options.client(), options.detach_keys(settings["detach_keys"])
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
    identifier = daemon.post(f"/containers/{path_segment(container)}/exec", body={**body, **console})["Id"]
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
    return int(daemon.get(f"/exec/{identifier}/json").get("ExitCode") or 0)
