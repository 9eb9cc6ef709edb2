"""``covey network``: creates, lists and removes networks."""

from typing import Any

import click

from cli import options, output
from cli.client import path_segment
from cli.command import command, option
from cli.format.sorting import natural_sort_key
from cli.parse.key_values import parse_key_values
from cli.parse.network_subnets import subnet_configs
from cli.rows import network as rows

INGRESS_WARNING = (
    "Without the routing-mesh network no service can publish ports in ingress mode until another is created with --ingress. "
    "Are you sure you want to continue?"
)

PEER_HEADERS = {"Network": "NETWORK", "Node": "NODE", "Address": "ADDRESS", "Endpoints": "ENDPOINTS"}
PEER_TABLE = "{{.Network}}\t{{.Node}}\t{{.Address}}\t{{.Endpoints}}"


@command()
@options.format_option
@options.filter_option
@options.quiet_option("network IDs")
@options.trunc_option
def ls(form: str, filters: tuple[str, ...], quiet: bool, no_trunc: bool) -> None:
    """List networks."""
    found = options.client().get("/networks", {"filters": options.parse_filters(filters)})
    listed = [
        rows.row(item, trunc=not no_trunc) for item in sorted(found, key=lambda item: natural_sort_key(item["Name"]))
    ]
    output.print_rows(listed, rows.HEADERS, rows.TABLE, form, quiet=quiet)


@command()
@options.object_arguments("networks", "network")
@options.inspect_format_option
@option("-v", "--verbose", is_flag=True, help="Verbose output for diagnostics")
@option("--peers", is_flag=True, help="List the nodes on the networks instead")
def inspect(networks: tuple[str, ...], form: str, verbose: bool, peers: bool) -> int:
    """Display detailed information on one or more networks."""
    daemon = options.client()
    if peers:
        from cli.commands.network_graph import peer_rows

        found = [row for network in networks for row in peer_rows(daemon, network)]
        output.print_rows(found, PEER_HEADERS, PEER_TABLE, form)
        return 0
    return output.print_objects(
        networks, lambda ref: daemon.get(f"/networks/{path_segment(ref)}", {"verbose": verbose}), form
    )


@command()
@options.object_arguments("networks", "network")
@option("-f", "--force", is_flag=True, help="Do not error if the network does not exist")
def rm(networks: tuple[str, ...], force: bool) -> int:
    """Remove one or more networks."""
    from cli.client import DaemonError

    daemon = options.client()

    def remove(ref: str) -> None:
        try:
            if not force and daemon.get(f"/networks/{path_segment(ref)}", {})["Ingress"]:
                click.confirm(INGRESS_WARNING, abort=True)
            daemon.delete(f"/networks/{path_segment(ref)}")
        except DaemonError as error:
            if error.status != 404 or not force:
                raise

    return output.for_each(networks, remove)


@command()
@options.prune_options
def prune(force: bool, filters: tuple[str, ...]) -> None:
    """Remove all unused networks."""
    if not force:
        click.confirm("This will remove all custom networks not used by at least one container. Continue?", abort=True)
    done = options.client().post("/networks/prune", {"filters": options.parse_filters(filters)})
    if done.get("NetworksDeleted"):
        click.echo("Deleted Networks:\n" + "\n".join(done["NetworksDeleted"]) + "\n")


@command()
@click.argument("name", metavar="NETWORK")
@option("--attachable", is_flag=True, help="Enable manual container attachment")
@option("--aux-address", multiple=True, metavar="map", help="Auxiliary IPv4 or IPv6 addresses used by Network driver")
@option("--config-from", default="", help="The network from which to copy the configuration")
@option("--config-only", is_flag=True, help="Create a configuration only network")
@option("-d", "--driver", default="bridge", help="Driver to manage the network")
@option("--gateway", multiple=True, help="IPv4 or IPv6 Gateway for the master subnet")
@option("--ingress", is_flag=True, help="Create swarm routing-mesh network")
@option("--internal", is_flag=True, help="Restrict external access to the network")
@option("--ip-range", multiple=True, help="Allocate container IP from a sub-range")
@option("--ipam-driver", default="default", help="IP Address Management Driver")
@option("--ipam-opt", multiple=True, metavar="map", help="Set IPAM driver specific options")
@option("--ipv4/--no-ipv4", default=True, negation=False, help="Enable or disable IPv4 address assignment")
@option("--ipv6/--no-ipv6", default=False, negation=False, help="Enable or disable IPv6 address assignment")
@option("--label", "labels", multiple=True, help="Set metadata on a network")
@option("-o", "--opt", multiple=True, metavar="map", help="Set driver specific options")
@option("--scope", default="", help="Control the network's scope")
@option("--subnet", multiple=True, help="Subnet in CIDR format that represents a network segment")
def create(name: str, **settings: Any) -> None:
    """Create a network."""
    body = network_body(name, **settings)
    answer = options.client().post("/networks/create", body=body)
    if answer.get("Warning"):
        click.echo(f"WARNING: {answer['Warning']}", err=True)
    click.echo(answer["Id"])


def network_body(name: str, **settings: Any) -> dict[str, Any]:
    """The body of /networks/create.

    Raises:
        InvalidArgumentError: a gateway, range or address without its subnet.
    """
    auxiliary = parse_key_values(settings["aux_address"])
    config = subnet_configs(settings["subnet"], settings["ip_range"], settings["gateway"], auxiliary)
    body: dict[str, Any] = {
        "Name": name,
        "Driver": settings["driver"],
        "Options": parse_key_values(settings["opt"]),
        "Labels": parse_key_values(settings["labels"]),
        "Internal": settings["internal"],
        "Attachable": settings["attachable"],
        "Ingress": settings["ingress"],
        "EnableIPv4": settings["ipv4"],
        "EnableIPv6": settings["ipv6"],
        "ConfigOnly": settings["config_only"],
        "IPAM": {
            "Driver": settings["ipam_driver"],
            "Options": parse_key_values(settings["ipam_opt"]),
            "Config": config,
        },
    }
    if settings["config_from"]:
        body["ConfigFrom"] = {"Network": settings["config_from"]}
    if settings["scope"]:
        body["Scope"] = settings["scope"]
    return body
