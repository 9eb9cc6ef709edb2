"""The cluster's own settings, tokens and unlock key. Pure functions on a transaction, run by the servicer."""

from covey import unlockkey
from covey.errors import InvalidArgumentError, StaleVersionError, UnsupportedError
from covey.objects import Cluster, ClusterSpec, replace
from covey.settings import check_spec
from manager.ca.cluster import rotated
from manager.control.services import OUT_OF_SEQUENCE
from manager.store import Tx


def update(
    tx: Tx,
    version: int,
    spec: ClusterSpec | None,
    *,
    rotate_worker: bool,
    rotate_manager: bool,
    rotate_unlock_key: bool = False,
) -> str:
    """Replaces the spec, if one is given, and makes new tokens and a new unlock key as asked."""
    cluster = next(iter(tx.clusters))
    if cluster.meta.version != version:
        raise StaleVersionError(OUT_OF_SEQUENCE)
    if spec is not None:
        require_spec(spec, cluster.spec)
        cluster = replace(cluster, spec=spec)
    cluster = with_unlock_key(cluster, rotate=rotate_unlock_key)
    tx.update(rotated(cluster, worker=rotate_worker, manager=rotate_manager))
    return cluster.id


def with_unlock_key(cluster: Cluster, *, rotate: bool = False) -> Cluster:
    """The cluster with the unlock key that its spec asks for: one, or none.

    Raises:
        InvalidArgumentError: a key is to be rotated and there shall be none.
    """
    if not cluster.spec.auto_lock:
        if rotate:
            raise InvalidArgumentError("cannot rotate the unlock key because autolock is not turned on")
        return replace(cluster, unlock_key="")
    if cluster.unlock_key and not rotate:
        return cluster
    return replace(cluster, unlock_key=unlockkey.generate())


def require_spec(spec: ClusterSpec, before: ClusterSpec) -> None:
    if spec.annotations.name != before.annotations.name:
        raise InvalidArgumentError("modification of cluster name is not allowed")
    if spec.ca.force_rotate != before.ca.force_rotate:
        raise UnsupportedError("rotation of the root certificate is not supported yet")
    check_spec(spec)


def without_keys(cluster: Cluster) -> Cluster:
    """The cluster as anybody but managers sees it."""
    return replace(cluster, root_ca=replace(cluster.root_ca, key=b""), unlock_key="")
