"""Command line of ``covey lab``. The ``covey`` command executes this program."""

import os
import sys

import click

from covey.errors import CoveyError
from node.lab import cluster, network
from node.lab import host as machine
from node.lab.layout import Lab

NAME = click.option("--name", default="lab", show_default=True, help="Name of the lab; its hosts are NAME-1 to NAME-n.")
HOST = click.argument("host")


class LabGroup(click.Group):
    """Errors of Covey's own end as one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            if os.geteuid() != 0:
                raise click.ClickException("a lab needs root: it makes namespaces")
            return super().invoke(ctx)
        except CoveyError as error:
            raise click.ClickException(error.message) from error


@click.group(cls=LabGroup, help="Clusters of 1 to 9 hosts on this machine.")
def main() -> None:
    pass


@main.command(help="Make a lab and form its cluster; returns when all nodes are ready.")
@NAME
@click.option("--managers", default=3, show_default=True, type=click.IntRange(1, 9))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(0, 8))
@click.option("--no-cluster", is_flag=True, help="Only the hosts and their daemons.")
@click.option(
    "--store", default="", metavar="etcd[:MEMBERS]", help="Keep the managers' state in an etcd on the lab's switch."
)
def up(name: str, managers: int, workers: int, *, no_cluster: bool, store: str) -> None:
    lab = Lab(name, managers, workers, _etcd_members(store))
    cluster.up(lab, init_cluster=not no_cluster)
    for host in lab.hosts:
        click.echo(host.name)


def _etcd_members(store: str) -> int:
    word, colon, count = store.partition(":")
    if store and (word != "etcd" or (colon and not count.isdigit())):
        raise click.BadParameter(f"{store!r} is neither etcd nor etcd:MEMBERS", param_hint="--store")
    return int(count or 1) if store else 0


@main.command(help="Remove a lab and everything in it.")
@NAME
@click.option("--all", "every", is_flag=True, help="Every lab on this machine.")
def down(name: str, *, every: bool) -> None:
    for lab in cluster.labs() if every else (cluster.get_lab(name),):
        cluster.down(lab)


@main.command(name="ls", help="List labs and their hosts.")
@click.option("-q", "--quiet", is_flag=True, help="Names of hosts only.")
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


@main.command(help='Print the exports that point docker and covey to a host: eval "$(covey lab env HOST)".')
@HOST
def env(host: str) -> None:
    for key, value in machine.client_environment(cluster.get_host(host)[1]).items():
        click.echo(f"export {key}={value}")


@main.command(
    name="exec",
    help="Run a command inside a host: covey lab exec HOST -- CMD [ARG...].",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@HOST
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(host: str, command: tuple[str, ...]) -> None:
    found = cluster.get_host(host)[1]
    line = machine.command_inside(found, command[1:] if command[0] == "--" else command)
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", os.defpath)  # noqa: PTH120
    os.execvpe(line[0], line, {**os.environ, **machine.client_environment(found), "PATH": path})


@main.command(help="SIGKILL everything on a host; its disk stays.")
@HOST
def kill(host: str) -> None:
    cluster.kill(cluster.get_host(host)[1])


@main.command(help="SIGKILL coveyd alone on a host; its containers stay.")
@HOST
def crash(host: str) -> None:
    cluster.crash(cluster.get_host(host)[1])


@main.command(help="Bring back what is dead on a host, with its disk.")
@HOST
def start(host: str) -> None:
    cluster.start(*cluster.get_host(host))


@main.command(help="Take a host's link down.")
@HOST
def cut(host: str) -> None:
    network.set_link(*cluster.get_host(host), up=False)


@main.command(help="Take a host's link up again.")
@HOST
def heal(host: str) -> None:
    network.set_link(*cluster.get_host(host), up=True)


if __name__ == "__main__":
    main(prog_name="covey lab")
