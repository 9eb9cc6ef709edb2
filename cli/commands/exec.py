"""``covey exec`` and ``covey attach``: a process of a container on this terminal."""

import sys
from typing import Any

import click

from cli import options
from cli.client import path_segment


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("container")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARG...]")
@click.option("-d", "--detach", is_flag=True, help="Do not wait for the command.")
@click.option("--detach-keys", default="", help="Keys that leave the command running alone.")
@click.option("-e", "--env", multiple=True, metavar="KEY=VALUE", help="Environment variables.")
@click.option("--env-file", "env_files", multiple=True, help="Files of environment variables.")
@click.option("-i", "--interactive", is_flag=True, help="Pass stdin on.")
@click.option("--privileged", is_flag=True, help="With all privileges.")
@click.option("-t", "--tty", is_flag=True, help="With a terminal.")
@click.option("-u", "--user", default="", help="As this user: NAME|UID[:GROUP|GID].")
@click.option("-w", "--workdir", default="", help="In this folder of the container.")
def exec_(container: str, command: tuple[str, ...], detach: bool, interactive: bool, tty: bool, **given: Any) -> int:
    """Run a command in a running container; ends with the command's exit code."""
    from cli.parse.environment import environment_variables
    from cli.terminal.hijacked import TerminalSession

    if interactive and tty and not sys.stdin.isatty() and not detach:
        raise click.UsageError("the input device is not a TTY")
    daemon = options.client()
    body = {
        "Cmd": list(command),
        "Env": environment_variables(given["env"], given["env_files"]),
        "AttachStdin": interactive and not detach,
        "AttachStdout": not detach,
        "AttachStderr": not detach,
        "Tty": tty,
        "Privileged": given["privileged"],
        "User": given["user"],
        "WorkingDir": given["workdir"],
        "DetachKeys": given["detach_keys"],
    }
    identifier = daemon.post(f"/containers/{path_segment(container)}/exec", body=body)["Id"]
    if detach:
        daemon.post(f"/exec/{identifier}/start", body={"Detach": True, "Tty": tty})
        return 0
    stream, kind = daemon.hijack("POST", f"/exec/{identifier}/start", body={"Detach": False, "Tty": tty})
    with TerminalSession(stream, kind, tty=tty, stdin=interactive) as session:
        session.run(lambda height, width: daemon.post(f"/exec/{identifier}/resize", {"h": height, "w": width}))
    return int(daemon.get(f"/exec/{identifier}/json").get("ExitCode") or 0)


@click.command()
@click.argument("container")
@click.option("--detach-keys", default="", help="Keys that leave the container running alone.")
@click.option("--no-stdin", is_flag=True, help="Do not pass stdin on.")
@click.option("--sig-proxy/--no-sig-proxy", default=True, hidden=True)
def attach(container: str, detach_keys: str, no_stdin: bool, sig_proxy: bool) -> int:
    """Connect to a running container's own streams; ends with the container's exit code."""
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
