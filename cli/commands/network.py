"""``covey network``."""

from typing import Any

import click

from cli import options, output
from cli.client import path_segment
from cli.format.sorting import natural_sort_key
from cli.parse.key_values import parse_key_values
from cli.rows import network as rows
from covey.errors import InvalidArgumentError


@click.command()
@options.format_option
@options.filter_option
@options.quiet_option
@options.trunc_option
def ls(form: str, filters: tuple[str, ...], quiet: bool, no_trunc: bool) -> None:
    """List networks."""
    found = options.client().get("/networks", {"filters": options.parse_filters(filters)})
    listed = [
        rows.row(item, trunc=not no_trunc) for item in sorted(found, key=lambda item: natural_sort_key(item["Name"]))
    ]
    output.print_rows(listed, rows.HEADERS, rows.TABLE, form, quiet=quiet)


@click.command()
@click.argument("networks", nargs=-1, required=True, metavar="NETWORK...")
@options.inspect_format_option
@click.option("-v", "--verbose", is_flag=True, help="Also services and peers, where the daemon knows them.")
def inspect(networks: tuple[str, ...], form: str, verbose: bool) -> int:
    """Show networks in detail."""
    daemon = options.client()
    return output.print_objects(
        networks, lambda ref: daemon.get(f"/networks/{path_segment(ref)}", {"verbose": verbose}), form
    )


@click.command()
@click.argument("networks", nargs=-1, required=True, metavar="NETWORK...")
@click.option("-f", "--force", is_flag=True, help="Do not fail for a network that is not there.")
def rm(networks: tuple[str, ...], force: bool) -> int:
    """Remove networks."""
    from cli.client import DaemonError

    daemon = options.client()

    def remove(ref: str) -> None:
        try:
            daemon.delete(f"/networks/{path_segment(ref)}")
        except DaemonError as error:
            if error.status != 404 or not force:
                raise

    return output.for_each(networks, remove)


@click.command()
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "filters", multiple=True, help="Filter what is removed: KEY=VALUE.")
def prune(force: bool, filters: tuple[str, ...]) -> None:
    """Remove networks that nothing uses."""
    if not force:
        click.confirm("This will remove all custom networks that nothing uses. Continue?", abort=True)
    done = options.client().post("/networks/prune", {"filters": options.parse_filters(filters)})
    if done.get("NetworksDeleted"):
        click.echo("Deleted Networks:\n" + "\n".join(done["NetworksDeleted"]) + "\n")


@click.command()
@click.argument("name")
@click.option("--attachable", is_flag=True, help="Containers that no service runs may attach too.")
@click.option("--aux-address", multiple=True, metavar="NAME=IP", help="Addresses that are in use by others.")
@click.option("--config-from", default="", hidden=True)
@click.option("--config-only", is_flag=True, hidden=True)
@click.option("-d", "--driver", default="overlay", show_default=True, help="The network's driver.")
@click.option("--gateway", multiple=True, help="The gateway of each subnet.")
@click.option("--ingress", is_flag=True, help="The network of published ports.")
@click.option("--internal", is_flag=True, help="Without a way outside.")
@click.option("--ip-range", multiple=True, metavar="CIDR", help="The part of each subnet from which addresses come.")
@click.option("--ipam-driver", default="default", help="Who gives addresses.")
@click.option("--ipam-opt", multiple=True, metavar="KEY=VALUE")
@click.option("--ipv6", is_flag=True, help="With IPv6.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Labels.")
@click.option("-o", "--opt", multiple=True, metavar="KEY=VALUE", help="Options of the driver.")
@click.option("--scope", default="", help="Where the network is known.")
@click.option("--subnet", multiple=True, metavar="CIDR", help="The network's subnets.")
def create(name: str, **given: Any) -> None:
    """Create a network; an overlay over all hosts unless --driver says otherwise."""
    body = network_body(name, **given)
    answer = options.client().post("/networks/create", body=body)
    if answer.get("Warning"):
        click.echo(f"WARNING: {answer['Warning']}", err=True)
    click.echo(answer["Id"])


def network_body(name: str, **given: Any) -> dict[str, Any]:
    """What /networks/create takes.

    Raises:
        InvalidArgumentError: a gateway or range without its subnet.
    """
    config: list[dict[str, Any]] = [{"Subnet": subnet} for subnet in given["subnet"]]
    for key, values in (("Gateway", given["gateway"]), ("IPRange", given["ip_range"])):
        for index, value in enumerate(values):
            if index >= len(config):
                raise InvalidArgumentError(f"{value}: give as many --subnet as there are gateways and ranges")
            config[index][key] = value
    body: dict[str, Any] = {
        "Name": name,
        "Driver": given["driver"],
        "Options": parse_key_values(given["opt"]),
        "Labels": parse_key_values(given["labels"]),
        "Internal": given["internal"],
        "Attachable": given["attachable"],
        "Ingress": given["ingress"],
        "EnableIPv6": given["ipv6"],
        "ConfigOnly": given["config_only"],
        "IPAM": {"Driver": given["ipam_driver"], "Options": parse_key_values(given["ipam_opt"]), "Config": config},
    }
    if given["config_from"]:
        body["ConfigFrom"] = {"Network": given["config_from"]}
    if given["scope"]:
        body["Scope"] = given["scope"]
    if given["aux_address"]:
        if not config:
            raise InvalidArgumentError("--aux-address needs a --subnet")
        config[0]["AuxiliaryAddresses"] = parse_key_values(given["aux_address"])
    return body
