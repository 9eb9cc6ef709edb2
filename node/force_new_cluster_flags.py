"""Flag checks for ``swarm init --force-new-cluster``: refuses settings that it cannot apply. Pure.

Invariant: a flag without effect is refused by name before anything changes. Clients send zero values or defaults for flags that the user
did not give, so a value counts only if it differs from a new cluster's. Called by ``node.membership``.
"""

from covey.errors import InvalidArgumentError
from covey.objects import Cluster, ClusterSpec, replace
from engine.interfaces import SwarmInit

_NEW = ClusterSpec()
_UPDATE = "swarm update"


def refuse_unsupported_flags(request: SwarmInit) -> None:
    """Return if the request has no flags that force-new-cluster cannot apply.

    Raises:
        InvalidArgumentError: names the flags, and the commands to use instead.
    """
    later = {flag: command for flag, command, is_set in _changeable_flags(request) if is_set}
    never = [flag for flag, is_set in _permanent_flags(request) if is_set]
    if not later and not never:
        return
    remedies = [f"{', '.join(never)} cannot be changed after the cluster was created"] if never else []
    if later:
        remedies.insert(0, f"afterwards use {'; '.join(dict.fromkeys(later.values()))}")
    flags = ", ".join([*later, *never])
    raise InvalidArgumentError(
        "--force-new-cluster keeps the settings of the existing cluster. No changes were made. "
        f"Remove these flags: {flags}; {'; '.join(remedies)}"
    )


def _changeable_flags(request: SwarmInit) -> list[tuple[str, str, bool]]:
    """Flags of settings that can be changed later, the command for it, and whether the request sets them."""
    spec = request.spec
    flags = [
        ("--cert-expiry", " …", spec.ca.node_cert_expiry_ns != _NEW.ca.node_cert_expiry_ns),
        ("--dispatcher-heartbeat", " …", spec.heartbeat_period_ns != _NEW.heartbeat_period_ns),
        ("--max-snapshots", " …", spec.raft.keep_old_snapshots != _NEW.raft.keep_old_snapshots),
        ("--snapshot-interval", " …", spec.raft.snapshot_interval != _NEW.raft.snapshot_interval),
        ("--task-history-limit", " …", spec.task_history != _NEW.task_history),
    ]
    changes = [(flag, f"{_UPDATE} {flag}{value}", is_set) for flag, value, is_set in flags]
    availability = request.availability not in {"", "active"}
    changes.append(("--availability", f"node update --availability {request.availability} self", availability))
    has_other = not any(is_set for _, _, is_set in changes) and replace(spec, auto_lock=False) != _NEW
    return [*changes, ("the other settings of Spec", _UPDATE, has_other)]


def _permanent_flags(request: SwarmInit) -> list[tuple[str, bool]]:
    """Flags of settings that are fixed when a cluster is created, and whether the request sets them."""
    new = Cluster(id="")
    return [
        ("--default-addr-pool", request.default_address_pool not in {(), new.default_address_pool}),
        ("--default-addr-pool-mask-length", request.subnet_size not in {0, new.subnet_size}),
    ]
