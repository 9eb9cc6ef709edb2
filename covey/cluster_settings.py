"""Validation of a cluster's settings: its spec, and the default address pools that are chosen at ``swarm init``. Pure.

Called by the engine at ``init``, by the manager that creates the cluster, and by the control API at ``update``.
"""

import ipaddress
from collections.abc import Sequence
from itertools import combinations

from covey.clock import HOUR, MILLISECOND, MINUTE, SECOND
from covey.errors import InvalidArgumentError, UnsupportedError
from covey.image_sharing import sharing_policy
from covey.log_driver import check_log_driver
from covey.objects.base import replace
from covey.objects.cluster import ClusterSpec, ExternalCA, RaftSettings
from covey.privilege_policy import check_policy

MAX_TASK_HISTORY = 100
MAX_OLD_SNAPSHOTS = 100
MAX_LOG_ENTRIES = 1_000_000
MIN_CERTIFICATE_NS = HOUR
MAX_CERTIFICATE_NS = 10 * 365 * 24 * HOUR
MIN_HEARTBEAT_NS = 100 * MILLISECOND
MAX_HEARTBEAT_NS = MINUTE
MAX_SUBNET_SIZE = 29
MAX_EXTERNAL_CAS = 16
EXTERNAL_CA_HINT = (
    "to have it sign, rotate to its root without a key "
    "(swarm ca --rotate --ca-cert ROOT --external-ca protocol=cfssl,url=URL)"
)
_STANDARD_RAFT = RaftSettings()


def check_cluster_spec(spec: ClusterSpec) -> None:
    """Refuses the first invalid setting.

    Raises:
        InvalidArgumentError: a setting is out of bounds. UnsupportedError: Covey does not support it. Both name the setting.
    """
    if spec.annotations.name != "default":
        raise InvalidArgumentError('swarm spec must be named "default"')
    _require_range("task history limit", spec.task_history, 0, MAX_TASK_HISTORY)
    sharing_policy(spec.annotations.labels)
    check_policy(spec.annotations.labels)
    check_log_driver(spec.task_log_driver, "TaskDefaults.LogDriver")
    if spec.ca.node_cert_expiry_ns < MIN_CERTIFICATE_NS:
        raise InvalidArgumentError("minimum certificate expiry time is: 1h0m0s")
    if spec.ca.node_cert_expiry_ns > MAX_CERTIFICATE_NS:
        raise InvalidArgumentError("maximum certificate expiry time is 10 years (87600h)")
    check_external_cas(spec.ca.external_cas)
    if not MIN_HEARTBEAT_NS <= spec.heartbeat_period_ns <= MAX_HEARTBEAT_NS:
        seconds = spec.heartbeat_period_ns / SECOND
        raise InvalidArgumentError(f"heartbeat period must be from 0.1 s to 60 s, not {seconds:g} s")
    _check_raft(spec.raft)


def clamp_cluster_spec(spec: ClusterSpec) -> tuple[ClusterSpec, tuple[str, ...]]:
    """The spec with the Raft ticks that Covey uses and a heartbeat that it can keep, and a warning for each value that changed.

    Raises:
        InvalidArgumentError: the ticks contradict each other.
    """
    warnings = []
    if spec.raft.election_tick <= spec.raft.heartbeat_tick:
        raise InvalidArgumentError("invalid raft settings: ElectionTick must be greater than HeartbeatTick")
    raft = replace(spec.raft, election_tick=_STANDARD_RAFT.election_tick, heartbeat_tick=_STANDARD_RAFT.heartbeat_tick)
    if raft != spec.raft:
        warnings.append(
            f"Raft.ElectionTick = {spec.raft.election_tick} and HeartbeatTick = {spec.raft.heartbeat_tick} become "
            f"{raft.election_tick} and {raft.heartbeat_tick} (ticks of 0.1 s), which are fixed"
        )
    heartbeat_ns = spec.heartbeat_period_ns
    if 0 < heartbeat_ns < MIN_HEARTBEAT_NS:
        heartbeat_ns = MIN_HEARTBEAT_NS
        warnings.append(
            f"Dispatcher.HeartbeatPeriod = {spec.heartbeat_period_ns} ns becomes {heartbeat_ns} ns, the least"
        )
    return replace(spec, raft=raft, heartbeat_period_ns=heartbeat_ns), tuple(warnings)


def check_new_cluster_spec(spec: ClusterSpec) -> None:
    """``check_cluster_spec`` for a new cluster, which always has the key of its root.

    Raises:
        InvalidArgumentError, UnsupportedError: names the setting.
    """
    check_cluster_spec(spec)
    for ca in spec.ca.external_cas:
        raise InvalidArgumentError(
            f"a new cluster signs with the key of its root, so the external CA {ca.url} would never be used: create the cluster "
            f"without it; {EXTERNAL_CA_HINT}"
        )


def check_external_cas(cas: Sequence[ExternalCA]) -> None:
    """Refuses invalid external CAs. Raises InvalidArgumentError, which names the CA."""
    if len(cas) > MAX_EXTERNAL_CAS:
        raise InvalidArgumentError(f"a cluster may have {MAX_EXTERNAL_CAS} external CAs, not {len(cas)}")
    for ca in cas:
        if ca.protocol.lower() != "cfssl":
            raise InvalidArgumentError(f"unrecognized external CA protocol {ca.protocol}: Covey speaks cfssl")
        if not ca.url.startswith("https://"):
            raise InvalidArgumentError(f"the external CA's URL {ca.url!r} must begin with https://")
        if ca.options:
            raise InvalidArgumentError(
                f"external CA options are not supported by Covey: {', '.join(sorted(ca.options))}; remove them"
            )


def check_address_pools(pools: Sequence[str], subnet_size: int) -> None:
    """Refuses address pools that cannot hold a network; ``subnet_size`` is the prefix length of each network's subnet.

    Raises:
        InvalidArgumentError: names the pool. UnsupportedError: the pool is IPv6.
    """
    networks = [_pool(text) for text in pools]
    for one, other in combinations(networks, 2):
        if one.overlaps(other):
            raise InvalidArgumentError(f"the default address pools {one} and {other} overlap: name each range once")
    for network in networks:
        if network.prefixlen > MAX_SUBNET_SIZE:
            raise InvalidArgumentError(
                f"the default address pool {network} is too small for a network: give one of /{MAX_SUBNET_SIZE} or larger"
            )
        if not network.prefixlen <= subnet_size <= MAX_SUBNET_SIZE:
            raise InvalidArgumentError(
                f"the subnet size {subnet_size} does not fit the default address pool {network}: "
                f"it must be from {network.prefixlen} to {MAX_SUBNET_SIZE}"
            )


def _check_raft(raft: RaftSettings) -> None:
    _require_range("snapshot interval", raft.snapshot_interval, 1, MAX_LOG_ENTRIES)
    _require_range("number of old snapshots to keep", raft.keep_old_snapshots, 0, MAX_OLD_SNAPSHOTS)
    _require_range("number of log entries for slow followers", raft.log_entries_for_slow_followers, 1, MAX_LOG_ENTRIES)
    for name, value, standard in (
        ("ElectionTick", raft.election_tick, _STANDARD_RAFT.election_tick),
        ("HeartbeatTick", raft.heartbeat_tick, _STANDARD_RAFT.heartbeat_tick),
    ):
        if value != standard:
            raise UnsupportedError(
                f"Raft.{name} = {value} is not supported by Covey: it is always {standard} (ticks of 0.1 s); leave it out"
            )


def _require_range(what: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidArgumentError(f"the {what} must be from {least} to {most}, not {value}")


def _pool(text: str) -> ipaddress.IPv4Network:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidArgumentError(
            f"the default address pool {text!r} is not an address range such as 10.20.0.0/16: {error}"
        ) from None
    if not isinstance(network, ipaddress.IPv4Network):
        raise UnsupportedError(f"the default address pool {text} is IPv6, which is not supported by Covey yet")
    return network
