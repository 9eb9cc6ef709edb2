"""``covey swarm``: initializes, joins, updates and leaves a swarm."""

import sys
from typing import Any

import click

from cli import options
from cli.command import command, option
from cli.commands.swarm_ca import parse_external_ca
from cli.commands.swarm_unlock import autolock_enabled, print_unlock_key
from covey.errors import InvalidArgumentError
from covey.quantities import parse_duration

JOIN_PORT = 2377
_AVAILABILITY = click.Choice(["active", "pause", "drain"])


def _spec_options(function: Any) -> Any:
    for decorate in (
        option("--autolock/--no-autolock", default=None, help="Lock managers with an unlock key when they stop"),
        option(
            "--cert-expiry", metavar="duration", default_text="2160h0m0s", help="Validity period for node certificates"
        ),
        option("--dispatcher-heartbeat", metavar="duration", default_text="5s", help="Dispatcher heartbeat period"),
        option(
            "--external-ca",
            multiple=True,
            metavar="external-ca",
            help="Certificate signing endpoints (empty to remove all)",
        ),
        option(
            "--allow-devices",
            metavar="selectors",
            help="Services that may have devices of hosts: service=NAME, image=REFERENCE or label=KEY=VALUE, separated by ; (default none)",
        ),
        option(
            "--allow-privileged",
            metavar="selectors",
            help="Services that may run privileged containers, as --allow-devices (default none)",
        ),
        option(
            "--image-access",
            type=click.Choice(("tasks", "cluster")),
            help="Images that a node may fetch from other nodes: those of its tasks, or all (default tasks)",
        ),
        option(
            "--image-sharing",
            type=click.Choice(("first", "fallback", "only", "off")),
            help="Where tasks get images: other nodes before the registry, after it, only, or never (default first)",
        ),
        option("--max-snapshots", type=click.IntRange(0), help="Number of additional Raft snapshots to retain"),
        option(
            "--snapshot-interval",
            type=click.IntRange(1),
            default_text="10000",
            help="Number of log entries between Raft snapshots",
        ),
        option("--task-history-limit", type=int, default_text="5", help="Task history retention limit"),
    ):
        function = decorate(function)
    return function


def _address_options(function: Any) -> Any:
    for decorate in (
        option("--advertise-addr", default="", help="Advertised address (format: <ip|interface>[:port])"),
        option("--availability", type=_AVAILABILITY, default="active", help="Availability of the node"),
        option("--data-path-addr", default="", help="Address or interface to use for data path traffic"),
        option(
            "--listen-addr",
            default="",
            metavar="node-addr",
            default_text="0.0.0.0:2377",
            help="Listen address (format: <ip|interface>[:port])",
        ),
    ):
        function = decorate(function)
    return function


@command()
@_address_options
@_spec_options
@option(
    "--data-path-port",
    type=click.IntRange(1024, 49151),
    default_text="4789",
    help="Port number to use for data path traffic",
)
@option("--default-addr-pool", "pools", multiple=True, help="Address pools for networks in CIDR format")
@option(
    "--default-addr-pool-mask-length",
    "mask",
    type=int,
    default_text="24",
    help="Subnet mask length of the default address pools",
)
@option("--force-new-cluster", is_flag=True, help="Force create a new cluster from current state")
def init(
    *,
    advertise_addr: str,
    availability: str,
    data_path_addr: str,
    listen_addr: str,
    data_path_port: int | None,
    pools: tuple[str, ...],
    mask: int | None,
    force_new_cluster: bool,
    **settings: Any,
) -> None:
    """Initialize a swarm."""
    daemon = options.client()
    body: dict[str, Any] = {
        "ListenAddr": listen_addr,
        "AdvertiseAddr": advertise_addr,
        "DataPathAddr": data_path_addr,
        "DataPathPort": data_path_port or 0,
        "ForceNewCluster": force_new_cluster,
        "Availability": availability,
        "Spec": updated_cluster_spec({}, settings),
    }
    if pools:
        body["DefaultAddrPool"] = [subnet for pool in pools for subnet in pool.split(",")]
    if mask is not None:
        body["SubnetSize"] = mask
    node = daemon.post("/swarm/init", body=body)
    token = daemon.get("/swarm")["JoinTokens"]["Worker"]
    click.echo(f"Swarm initialized: current node ({node}) is now a manager.\n")
    click.echo(f"To add a worker to this swarm, run the following command:\n\n    {_join_command(daemon, token)}\n")
    click.echo("To add a manager to this swarm, run 'covey swarm join-token manager' and follow the instructions.\n")
    if autolock_enabled(body["Spec"]):
        print_unlock_key(daemon)


@command()
@click.argument("remotes", nargs=-1, required=True, metavar="HOST[:PORT] [HOST[:PORT]...]")
@_address_options
@option("--token", required=True, help='Token for entry into the swarm, or "-" to read it from STDIN')
def join(
    *,
    remotes: tuple[str, ...],
    advertise_addr: str,
    availability: str,
    data_path_addr: str,
    listen_addr: str,
    token: str,
) -> None:
    """Join a swarm as a node and/or manager."""
    daemon = options.client()
    if token == "-":  # noqa: S105
        token = sys.stdin.readline().strip()
        if not token:
            raise InvalidArgumentError("no token on STDIN")
    body = {
        "RemoteAddrs": [_with_default_port(remote) for remote in remotes],
        "JoinToken": token,
        "ListenAddr": listen_addr,
        "AdvertiseAddr": advertise_addr,
        "DataPathAddr": data_path_addr,
        "Availability": availability,
    }
    daemon.post("/swarm/join", body=body)
    manager = (daemon.get("/info").get("Swarm") or {}).get("ControlAvailable")
    click.echo(f"This node joined a swarm as a {'manager' if manager else 'worker'}.")


@command("join-token")
@click.argument("role", type=click.Choice(["worker", "manager"]), metavar="(worker|manager)")
@option("-q", "--quiet", is_flag=True, help="Only display token")
@option("--rotate", is_flag=True, help="Rotate join token")
def join_token(role: str, quiet: bool, rotate: bool) -> None:
    """Manage join tokens."""
    daemon = options.client()
    if rotate:
        cluster = daemon.get("/swarm")
        query = {"version": cluster["Version"]["Index"], f"rotate{role.capitalize()}Token": "true"}
        daemon.post("/swarm/update", query, cluster["Spec"])
        if not quiet:
            click.echo(f"Successfully rotated {role} join token.\n")
    token = daemon.get("/swarm")["JoinTokens"][role.capitalize()]
    if quiet:
        click.echo(token)
        return
    click.echo(f"To add a {role} to this swarm, run the following command:\n\n    {_join_command(daemon, token)}\n")


@command()
@option("-f", "--force", is_flag=True, help="Force this node to leave the swarm, ignoring warnings")
def leave(force: bool) -> None:
    """Leave the swarm."""
    options.client().post("/swarm/leave", {"force": force})
    click.echo("Node left the swarm.")


@command()
@_spec_options
def update(**settings: Any) -> None:
    """Update the swarm."""
    if all(value is None or value == () for value in settings.values()):
        raise click.UsageError("nothing to update: give at least one setting; 'covey swarm update --help' lists them")
    daemon = options.client()
    cluster = daemon.get("/swarm")
    spec = updated_cluster_spec(cluster["Spec"], settings)
    daemon.post("/swarm/update", {"version": cluster["Version"]["Index"]}, spec)
    click.echo("Swarm updated.")
    if autolock_enabled(spec) and not autolock_enabled(cluster["Spec"]):
        print_unlock_key(daemon)


def updated_cluster_spec(spec: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The cluster's spec with the given settings applied."""
    result = {key: dict(value) if isinstance(value, dict) else value for key, value in spec.items()}

    def put(section: str, key: str, value: Any) -> None:
        if value is not None:
            result.setdefault(section, {})[key] = value

    spans = {
        key: parse_duration(settings[key]) if settings[key] else None for key in ("cert_expiry", "dispatcher_heartbeat")
    }
    put("EncryptionConfig", "AutoLockManagers", settings["autolock"])
    put("CAConfig", "NodeCertExpiry", spans["cert_expiry"])
    if settings["external_ca"]:
        put("CAConfig", "ExternalCAs", [parse_external_ca(text) for text in settings["external_ca"] if text])
    put("Labels", "covey.allow.devices", settings["allow_devices"])
    put("Labels", "covey.allow.privileged", settings["allow_privileged"])
    put("Labels", "covey.images.access", settings["image_access"])
    put("Labels", "covey.images.sharing", settings["image_sharing"])
    put("Dispatcher", "HeartbeatPeriod", spans["dispatcher_heartbeat"])
    put("Raft", "KeepOldSnapshots", settings["max_snapshots"])
    put("Raft", "SnapshotInterval", settings["snapshot_interval"])
    put("Orchestration", "TaskHistoryRetentionLimit", settings["task_history_limit"])
    return result


def _join_command(daemon: Any, token: str) -> str:
    """The join command with this node's address as the managers list it, because only that has the right port."""
    swarm = daemon.get("/info").get("Swarm") or {}
    addrs = {peer["NodeID"]: peer["Addr"] for peer in swarm.get("RemoteManagers") or []}
    own = addrs.get(swarm.get("NodeID")) or next(iter(addrs.values()), f"MANAGER:{JOIN_PORT}")
    return f"covey swarm join --token {token} {own}"


def _with_default_port(remote: str) -> str:
    host, separator, port = remote.rpartition(":")
    if separator and port.isdecimal() and (":" not in host or host.startswith("[")):
        return remote
    return f"[{remote}]:{JOIN_PORT}" if ":" in remote and not remote.startswith("[") else f"{remote}:{JOIN_PORT}"
