"""``covey network connect`` and ``covey network disconnect``."""

from typing import Any

from cli import options
from cli.client import path_segment
from cli.command import command, option
from cli.parse.key_values import parse_key_values


@command()
@options.object_argument("network", "network")
@options.object_argument("container", "container")
@option("--alias", "aliases", multiple=True, metavar="strings", help="Add network-scoped alias for the container")
@option("--driver-opt", multiple=True, metavar="strings", help="Driver options for the network")
@option(
    "--gw-priority",
    type=int,
    default=0,
    help="Highest gw-priority provides the default gateway. Accepts positive and negative values",
)
@option("--ip", default="", help='IPv4 address (e.g., "172.30.100.104")')
@option("--ip6", default="", help='IPv6 address (e.g., "2001:db8::33")')
@option("--link", "links", multiple=True, help="Add link to another container")
@option("--link-local-ip", multiple=True, metavar="strings", help="Add a link-local address for the container")
def connect(network: str, container: str, **settings: Any) -> None:
    """Connect a container to a network."""
    address = {
        "IPv4Address": settings["ip"],
        "IPv6Address": settings["ip6"],
        "LinkLocalIPs": list(settings["link_local_ip"]),
    }
    endpoint = {
        "IPAMConfig": {key: value for key, value in address.items() if value},
        "Links": list(settings["links"]),
        "Aliases": list(settings["aliases"]),
        "DriverOpts": dict(parse_key_values(settings["driver_opt"])),
        "GwPriority": settings["gw_priority"],
    }
    body = {"Container": container, "EndpointConfig": {key: value for key, value in endpoint.items() if value}}
    options.client().post(f"/networks/{path_segment(network)}/connect", body=body)


@command()
@options.object_argument("network", "network")
@options.object_argument("container", "container")
@option("-f", "--force", is_flag=True, help="Force the container to disconnect from a network")
def disconnect(network: str, container: str, force: bool) -> None:
    """Disconnect a container from a network."""
    body = {"Container": container, "Force": force}
    options.client().post(f"/networks/{path_segment(network)}/disconnect", body=body)
