"""Command line of ``covey lab``. The ``covey`` command executes this program."""

import os
import sys

import click

from covey.errors import CoveyError
from node.lab import cluster, images, network
from node.lab import host as machine
from node.lab.layout import MAX_ETCD, MAX_HOSTS, Lab

NAME = click.option(
    "--name", default="lab", show_default=True, help="Name of the lab; its hosts are named NAME-1 to NAME-N"
)
HOST = click.argument("host")


class LabCommand(click.Command):
    """A command that needs root. Errors of Covey are shown as one line, with exit code 1. Help is available to everyone."""

    def invoke(self, ctx: click.Context) -> object:
        if os.geteuid() != 0:
            raise click.ClickException("covey lab needs root, because it creates network namespaces")
        try:
            return super().invoke(ctx)
        except CoveyError as error:
            raise click.ClickException(error.message) from error


class LabGroup(click.Group):
    command_class = LabCommand


@click.group(
    cls=LabGroup,
    help=f"Run clusters of 1 to {MAX_HOSTS} hosts on this machine",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
def main() -> None:
    pass


@main.command(name="help", cls=click.Command, help="Show help for lab, or for one of its commands")
@click.argument("command", required=False)
@click.pass_context
def show_help(ctx: click.Context, command: str | None) -> None:
    group = ctx.find_root()
    if command is None:
        click.echo(group.get_help())
        return
    found = main.get_command(group, command)
    if found is None:
        raise click.UsageError(f"unknown command {command!r}", ctx=group)
    click.echo(found.get_help(click.Context(found, info_name=command, parent=group)))


@main.command(help="Create a lab and its cluster\n\nReturns when all nodes are ready.")
@NAME
@click.option(
    "--managers", default=3, show_default=True, type=click.IntRange(1, MAX_HOSTS), help="Number of manager hosts"
)
@click.option(
    "--workers", default=2, show_default=True, type=click.IntRange(0, MAX_HOSTS - 1), help="Number of worker hosts"
)
@click.option("--no-cluster", is_flag=True, help="Start the hosts and their daemons only, without swarm init and join")
@click.option(
    "--store",
    default="",
    metavar="etcd[:MEMBERS]",
    help=f"Store the managers' state in an etcd of 1 to {MAX_ETCD} members instead of Raft (default 1 member)",
)
def up(name: str, managers: int, workers: int, *, no_cluster: bool, store: str) -> None:
    lab = Lab(name, managers, workers, _etcd_members(store))
    cluster.up(lab, init_cluster=not no_cluster)
    for host in lab.hosts:
        click.echo(host.name)


def _etcd_members(store: str) -> int:
    kind, colon, count = store.partition(":")
    if store and (kind != "etcd" or (colon and not count.isdigit())):
        raise click.BadParameter(f"{store!r} is neither etcd nor etcd:MEMBERS", param_hint="--store")
    return int(count or 1) if store else 0


@main.command(help="Remove a lab with its hosts, containers and disks")
@NAME
@click.option("--all", "remove_all", is_flag=True, help="Remove all labs on this machine")
def down(name: str, *, remove_all: bool) -> None:
    for lab in cluster.labs() if remove_all else (cluster.get_lab(name),):
        cluster.down(lab)


@main.command(name="ls", help="List hosts of all labs")
@click.option("-q", "--quiet", is_flag=True, help="Only display host names")
def list_hosts(*, quiet: bool) -> None:
    rows = [
        (
            host.name,
            lab.name,
            "manager" if host.number <= lab.managers else "worker",
            host.address,
            cluster.status(lab, host),
        )
        for lab in cluster.labs()
        for host in lab.hosts
    ]
    if quiet:
        for row in rows:
            click.echo(row[0])
        return
    for row in (("HOST", "LAB", "STARTED AS", "ADDRESS", "STATUS"), *rows):
        click.echo("{:<20}{:<14}{:<13}{:<17}{}".format(*row))


@main.command(
    help='Print shell exports that point docker and covey to a host\n\nUse it as: eval "$(covey lab env HOST)"'
)
@HOST
def env(host: str) -> None:
    for key, value in machine.client_environment(cluster.get_host(host)[1]).items():
        click.echo(f"export {key}={value}")


@main.command(
    name="exec",
    help="Run a command on a host\n\nUse it as: covey lab exec HOST -- COMMAND [ARG...]",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@HOST
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(host: str, command: tuple[str, ...]) -> None:
    found = cluster.get_host(host)[1]
    line = machine.command_inside(found, command[1:] if command[0] == "--" else command)
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", os.defpath)  # noqa: PTH120
    os.execvpe(line[0], line, {**os.environ, **machine.client_environment(found), "PATH": path})


@main.command(
    help="Load an image on the hosts of a lab\n\nIMAGE is an archive of 'docker save', or an image that one of the hosts has. "
    "Without HOSTs it is loaded on all."
)
@NAME
@click.argument("image")
@click.argument("hosts", nargs=-1, metavar="[HOST...]")
def load(name: str, image: str, hosts: tuple[str, ...]) -> None:
    chosen = [cluster.get_host(host)[1] for host in hosts] or list(cluster.get_lab(name).hosts)
    for host, loaded in images.load(image, cluster.get_lab(chosen[0].lab).hosts, chosen):
        click.echo(f"{host.name}: {loaded}")


@main.command(help="Power off a host: kill all its processes\n\nIts disk is kept.")
@HOST
def kill(host: str) -> None:
    cluster.kill(cluster.get_host(host)[1])


@main.command(help="Kill coveyd on a host\n\nIts containers keep running.")
@HOST
def crash(host: str) -> None:
    cluster.crash(cluster.get_host(host)[1])


@main.command(help="Start a host that was killed, or coveyd after a crash")
@HOST
def start(host: str) -> None:
    cluster.start(*cluster.get_host(host))


@main.command(help="Disconnect a host from the network")
@HOST
def cut(host: str) -> None:
    network.set_link(*cluster.get_host(host), up=False)


@main.command(help="Reconnect a host to the network")
@HOST
def heal(host: str) -> None:
    network.set_link(*cluster.get_host(host), up=True)


if __name__ == "__main__":
    main(prog_name="covey lab")
