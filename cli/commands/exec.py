"""``covey exec`` and ``covey attach``: connect this terminal to a process in a container."""

import sys
from typing import Any

import click

from cli import options
from cli.client import path_segment
from cli.command import command, option


@command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
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
    from cli.parse.environment import environment_variables
    from cli.terminal.hijacked import TerminalSession

    if interactive and tty and not sys.stdin.isatty() and not detach:
        raise click.UsageError("the input device is not a TTY")
    daemon = options.client()
    body = {
        "Cmd": list(command),
        "Env": environment_variables(settings["env"], settings["env_files"]),
        "AttachStdin": interactive and not detach,
        "AttachStdout": not detach,
        "AttachStderr": not detach,
        "Tty": tty,
        "Privileged": settings["privileged"],
        "User": settings["user"],
        "WorkingDir": settings["workdir"],
        "DetachKeys": settings["detach_keys"],
    }
    identifier = daemon.post(f"/containers/{path_segment(container)}/exec", body=body)["Id"]
    if detach:
        daemon.post(f"/exec/{identifier}/start", body={"Detach": True, "Tty": tty})
        return 0
    stream, kind = daemon.hijack("POST", f"/exec/{identifier}/start", body={"Detach": False, "Tty": tty})
    with TerminalSession(stream, kind, tty=tty, stdin=interactive) as session:
        session.run(lambda height, width: daemon.post(f"/exec/{identifier}/resize", {"h": height, "w": width}))
    return int(daemon.get(f"/exec/{identifier}/json").get("ExitCode") or 0)


@command()
@options.object_argument("container", "running container")
@option("--detach-keys", default="", help="Keys that leave the container running alone.")
@option("--no-stdin", is_flag=True, help="Do not attach STDIN")
@option("--sig-proxy/--no-sig-proxy", default=True, supported=False, help="Proxy all received signals to the process")
def attach(container: str, detach_keys: str, no_stdin: bool, sig_proxy: bool) -> int:
    """Attach local streams to a running container.

    The exit code is that of the container.
    """
    from cli.terminal.hijacked import TerminalSession

    del sig_proxy
    daemon = options.client()
    path = f"/containers/{path_segment(container)}"
    config = daemon.get(f"{path}/json")["Config"]
    stdin = bool(config.get("OpenStdin")) and not no_stdin
    query = {"stream": True, "stdin": stdin, "stdout": True, "stderr": True, "detachKeys": detach_keys}
    stream, kind = daemon.hijack("POST", f"{path}/attach", query)
    with TerminalSession(stream, kind, tty=bool(config.get("Tty")), stdin=stdin) as session:
        session.run(lambda height, width: daemon.post(f"{path}/resize", {"h": height, "w": width}))
    state = daemon.get(f"{path}/json")["State"]
    return 0 if state.get("Running") else int(state.get("ExitCode") or 0)
