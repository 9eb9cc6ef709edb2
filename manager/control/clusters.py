"""The cluster's own settings and tokens. Pure functions on a transaction, run by the servicer."""

from covey.clock import HOUR, MILLISECOND, MINUTE, SECOND
from covey.errors import InvalidArgumentError, StaleVersionError, UnsupportedError
from covey.objects import Cluster, ClusterSpec, replace
from manager.ca.cluster import rotated
from manager.control.services import OUT_OF_SEQUENCE
from manager.store import Tx

MAX_TASK_HISTORY = 100
_MIN_CERTIFICATE_NS = HOUR
_MIN_HEARTBEAT_NS = 100 * MILLISECOND
_MAX_HEARTBEAT_NS = MINUTE


def update(tx: Tx, version: int, spec: ClusterSpec | None, *, rotate_worker: bool, rotate_manager: bool) -> str:
    """Replaces the spec, if one is given, and makes new tokens as asked."""
    cluster = next(iter(tx.clusters))
    if cluster.meta.version != version:
        raise StaleVersionError(OUT_OF_SEQUENCE)
    if spec is not None:
        require_spec(spec, cluster.spec)
        cluster = replace(cluster, spec=spec)
    tx.update(rotated(cluster, worker=rotate_worker, manager=rotate_manager))
    return cluster.id


def require_spec(spec: ClusterSpec, before: ClusterSpec) -> None:
    if spec.annotations.name != before.annotations.name:
        raise InvalidArgumentError("modification of cluster name is not allowed")
    if not 0 <= spec.task_history <= MAX_TASK_HISTORY:
        raise InvalidArgumentError(f"task history limit must be from 0 to {MAX_TASK_HISTORY}, not {spec.task_history}")
    if spec.auto_lock:
        raise UnsupportedError("autolock is not supported yet: leave it off")
    if spec.ca.force_rotate != before.ca.force_rotate:
        raise UnsupportedError("rotation of the root certificate is not supported yet")
    if spec.ca.node_cert_expiry_ns < _MIN_CERTIFICATE_NS:
        raise InvalidArgumentError("minimum certificate expiry time is 1h0m0s")
    if not _MIN_HEARTBEAT_NS <= spec.heartbeat_period_ns <= _MAX_HEARTBEAT_NS:
        seconds = spec.heartbeat_period_ns / SECOND
        raise InvalidArgumentError(f"heartbeat period must be from 0.1 s to 60 s, not {seconds:g} s")


def without_key(cluster: Cluster) -> Cluster:
    """The cluster as anybody but managers sees it."""
    return replace(cluster, root_ca=replace(cluster.root_ca, key=b""))
