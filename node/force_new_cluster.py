"""Flag checks for ``swarm init --force-new-cluster``: refuses settings that it cannot apply. Pure.

Invariant: a flag without effect is refused by name before anything changes. Clients send zero values or defaults for flags that the user
did not give, so a value counts only if it differs from a new cluster's. Called by ``node.membership``.
"""

from covey.errors import InvalidArgumentError
from covey.objects import Cluster, ClusterSpec
from engine.interfaces import SwarmInit

_NEW = ClusterSpec()
_UPDATE = "docker swarm update"


def refuse_unsupported_flags(request: SwarmInit) -> None:
    """Returns if all that is asked besides can be done.

    Raises:
        InvalidArgumentError: names the flags, and what to use instead.
    """
    later = {flag: command for flag, command, asked in _changeable(request) if asked}
    never = [flag for flag, asked in _fixed(request) if asked]
    if not later and not never:
        return
    instead = [f"{', '.join(never)} was settled when the cluster was founded"] if never else []
    if later:
        instead.insert(0, f"afterwards use {'; '.join(dict.fromkeys(later.values()))}")
    raise InvalidArgumentError(
        f"--force-new-cluster goes on with the settings that the cluster has, and does not apply {', '.join([*later, *never])}: "
        f"nothing was changed, leave that away; {'; '.join(instead)}"
    )


def _changeable(request: SwarmInit) -> list[tuple[str, str, bool]]:
    """Flags, the command that does it in a cluster that runs, and whether it was asked."""
    spec = request.spec
    flags = [
        ("--autolock", "=true", spec.auto_lock),
        ("--cert-expiry", " …", spec.ca.node_cert_expiry_ns != _NEW.ca.node_cert_expiry_ns),
        ("--dispatcher-heartbeat", " …", spec.heartbeat_period_ns != _NEW.heartbeat_period_ns),
        ("--max-snapshots", " …", spec.raft.keep_old_snapshots != _NEW.raft.keep_old_snapshots),
        ("--snapshot-interval", " …", spec.raft.snapshot_interval != _NEW.raft.snapshot_interval),
        ("--task-history-limit", " …", spec.task_history != _NEW.task_history),
    ]
    changes = [(flag, f"{_UPDATE} {flag}{value}", asked) for flag, value, asked in flags]
    availability = request.availability not in {"", "active"}
    changes.append(("--availability", f"docker node update --availability {request.availability} self", availability))
    others = not any(asked for _, _, asked in changes) and spec != _NEW
    return [*changes, ("the other settings of its Spec", _UPDATE, others)]


def _fixed(request: SwarmInit) -> list[tuple[str, bool]]:
    """Flags of what a cluster is founded with for good, and whether it was asked."""
    new = Cluster(id="")
    return [
        ("--default-addr-pool", request.default_address_pool not in {(), new.default_address_pool}),
        ("--default-addr-pool-mask-length", request.subnet_size not in {0, new.subnet_size}),
    ]
