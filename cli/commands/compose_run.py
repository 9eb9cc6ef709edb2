"""``covey compose`` commands that run programs and look at them: run, exec, port, top."""

import sys
from typing import Any

import click

from cli.command import option
from cli.compose.command import compose_command
from cli.compose.session import Session
from covey.errors import InvalidArgumentError

_PROGRAM = {"allow_interspersed_args": False}


@compose_command("exec", context_settings=_PROGRAM)
@click.argument("service")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARGS...]")
@option("-d", "--detach", is_flag=True, help="Detached mode: Run command in the background")
@option("-e", "--env", multiple=True, metavar="stringArray", help="Set environment variables")
@option("--index", type=int, default=0, help="Index of the container if service has multiple replicas")
@option("-i", "--interactive/--no-interactive", "_interactive", hidden=True, default=True, expose_value=False)
@option("-t", "--tty/--no-terminal", "_tty", hidden=True, default=True, expose_value=False)
@option("-T", "--no-tty", is_flag=True, help="Disable pseudo-TTY allocation; there is none without a terminal")
@option("--privileged", is_flag=True, help="Give extended privileges to the process")
@option("-u", "--user", default="", help="Run the command as this user")
@option("-w", "--workdir", default="", help="Path to workdir directory for this command")
def exec_(*, service: str, command: tuple[str, ...], detach: bool, index: int, no_tty: bool, **flags: Any) -> int:
    """Execute a command in a running container."""
    from cli.commands.exec import exec_ as container_exec

    session = Session.current()
    container = session.container(service, index)
    if session.dry_run:
        session.progress.report(f"Container {container.name}", "Exec", " ".join(command))
        return 0
    terminal = not no_tty and not detach and sys.stdin.isatty() and sys.stdout.isatty()
    return int(
        click.get_current_context().invoke(
            container_exec,
            container=container.id,
            command=command,
            detach=detach,
            interactive=not detach,
            tty=terminal,
            detach_keys="",
            env_files=(),
            **flags,
        )
        or 0
    )


@compose_command(context_settings=_PROGRAM)
@click.argument("service")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARGS...]")
@option("--build", is_flag=True, help="Build image before starting container")
@option("--cap-add", multiple=True, help="Add Linux capabilities")
@option("--cap-drop", multiple=True, help="Drop Linux capabilities")
@option("-d", "--detach", is_flag=True, help="Run container in background and print container ID")
@option("--entrypoint", default=None, help="Override the entrypoint of the image")
@option("-e", "--env", multiple=True, metavar="stringArray", help="Set environment variables")
@option(
    "--env-from-file", "env_files", multiple=True, metavar="stringArray", help="Set environment variables from file"
)
@option("-i", "--interactive/--no-interactive", default=True, negation=False, help="Keep STDIN open")
@option("-l", "--label", "labels", multiple=True, metavar="stringArray", help="Add or override a label")
@option("--name", default="", help="Assign a name to the container")
@option("--no-deps", is_flag=True, help="Don't start linked services")
@option("-T", "--no-tty", is_flag=True, help="Disable pseudo-TTY allocation; there is none without a terminal")
@option("-p", "--publish", multiple=True, metavar="stringArray", help="Publish a container's port(s) to the host")
@option(
    "--pull",
    type=click.Choice(["always", "missing", "never", "policy"]),
    default="policy",
    help="Pull image before running",
)
@option("-q", "--quiet", is_flag=True, help="Don't print anything to STDOUT")
@option("--quiet-build", is_flag=True, help="Suppress progress output from the build process")
@option("--quiet-pull", is_flag=True, help="Pull without printing progress information")
@option("--remove-orphans", is_flag=True, help="Remove containers for services not in the Compose file")
@option("--rm", "remove", is_flag=True, help="Automatically remove the container when it exits")
@option(
    "-P", "--service-ports", is_flag=True, help="Run command with all service's ports enabled and mapped to the host"
)
@option(
    "--use-aliases", is_flag=True, help="Use the service's network aliases in the networks the container connects to"
)
@option("-u", "--user", default=None, help="Run as specified username or uid")
@option("-v", "--volume", "volumes", multiple=True, metavar="stringArray", help="Bind mount a volume")
@option("-w", "--workdir", default=None, help="Working directory inside the container")
def run(service: str, command: tuple[str, ...], **flags: Any) -> int:
    """Run a one-off command on a service."""
    from cli.compose.one_off import run_one_off

    return run_one_off(Session.current(), service, command, flags)


@compose_command()
@click.argument("service")
@click.argument("private_port", metavar="[PRIVATE_PORT]", default="")
@option("--index", type=int, default=0, help="Index of the container if service has multiple replicas")
@option(
    "--protocol", type=click.Choice(["", "tcp", "udp", "sctp"]), default="", default_text='"tcp"', help="tcp or udp"
)
def port(service: str, private_port: str, index: int, protocol: str) -> None:
    """List port mappings or print the public port for a specific mapping for the service."""
    from cli.compose.container_rows import publisher_text, publishers

    session = Session.current()
    item = session.container(service, index)
    query = {"all": True, "filters": {"id": [item.id]}}
    found = publishers(session.daemon.get("/containers/json", query)[0].get("Ports") or ())
    if not private_port:
        for listed in found:
            if protocol in ("", listed["Protocol"]):
                click.echo(publisher_text(listed))
        return
    wanted = (private_port.partition("/")[0], protocol or "tcp")
    for each in found:
        if (str(each["TargetPort"]), each["Protocol"]) == wanted and each["PublishedPort"]:
            click.echo(publisher_text(each).partition(" -> ")[2])
            return
    known = ", ".join(dict.fromkeys(f"{each['TargetPort']}/{each['Protocol']}" for each in found))
    raise InvalidArgumentError(f"no port {'/'.join(wanted)} for container {item.name}: {known}")


@compose_command()
@click.argument("services", nargs=-1, metavar="[SERVICES...]")
def top(services: tuple[str, ...]) -> None:
    """Display the running processes."""
    from cli.compose.wide_table import wide_table

    session = Session.current()
    lines: list[tuple[str, ...]] = []
    for item in session.containers(services):
        if item.state != "running":
            continue
        found = session.daemon.get(f"/containers/{item.id}/top")
        if not lines:
            lines.append(("SERVICE", "#", *found["Titles"]))
        lines += [(item.service, str(item.number), *row) for row in found["Processes"]]
    click.echo(wide_table(lines, least=4, gap=2), nl=False)
