"""The cluster's own settings, tokens and unlock key. Pure functions on a transaction, run by the servicer."""

from covey import unlockkey
from covey.errors import InvalidArgumentError, StaleVersionError
from covey.objects import Cluster, ClusterSpec, RootCA, replace
from covey.settings import check_spec
from manager.ca.cluster import rotated, without_signing
from manager.ca.rotation import without_idle_cas
from manager.control.sequence import OUT_OF_SEQUENCE
from manager.store import Tx


def update(
    tx: Tx,
    version: int,
    spec: ClusterSpec | None,
    *,
    rotate_worker: bool,
    rotate_manager: bool,
    rotate_unlock_key: bool = False,
    root_ca: RootCA | None = None,
) -> str:
    """Replaces the spec, if one is given, and makes new tokens and a new unlock key as asked. ``root_ca`` is what the spec makes of
    the root of this version of the cluster.
    """
    cluster = next(iter(tx.clusters))
    require_version(cluster, version)
    if spec is not None:
        require_spec(spec, cluster.spec)
        root_ca = root_ca or cluster.root_ca
        cluster = replace(cluster, spec=without_idle_cas(without_signing(spec), root_ca), root_ca=root_ca)
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


def require_version(cluster: Cluster, version: int) -> None:
    if cluster.meta.version != version:
        raise StaleVersionError(OUT_OF_SEQUENCE)


def require_spec(spec: ClusterSpec, before: ClusterSpec) -> None:
    if spec.annotations.name != before.annotations.name:
        raise InvalidArgumentError("modification of cluster name is not allowed")
    check_spec(spec)


def without_keys(cluster: Cluster) -> Cluster:
    """The cluster as anybody but managers sees it."""
    rotation = cluster.root_ca.rotation
    hidden = None if rotation is None else replace(rotation, key=b"")
    return replace(
        cluster,
        spec=without_signing(cluster.spec),
        root_ca=replace(cluster.root_ca, key=b"", rotation=hidden),
        unlock_key="",
        revoked=(),
    )
