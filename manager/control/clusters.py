"""Cluster requests: settings, token rotation, unlock key. Pure functions on a transaction, called by the servicer."""

from covey import unlockkey
from covey.cluster_settings import check_cluster_spec
from covey.errors import InvalidArgumentError, StaleVersionError
from covey.objects import Cluster, ClusterSpec, RootCA, replace
from manager.ca.cluster_trust import with_new_tokens, without_signing_material
from manager.ca.root_rotation import without_unused_cas
from manager.control.version_check import OUT_OF_SEQUENCE
from manager.store import Tx


def update_cluster(
    tx: Tx,
    version: int,
    spec: ClusterSpec | None,
    *,
    rotate_worker: bool,
    rotate_manager: bool,
    rotate_unlock_key: bool = False,
    root_ca: RootCA | None = None,
) -> str:
    """Replaces the spec if one is given, and creates new tokens and a new unlock key as requested. ``root_ca`` is the root CA that the
    spec leads to from this version of the cluster.
    """
    cluster = tx.cluster
    require_cluster_version(cluster, version)
    if spec is not None:
        require_valid_spec(spec, cluster.spec)
        root_ca = root_ca or cluster.root_ca
        cluster = replace(cluster, spec=without_unused_cas(without_signing_material(spec), root_ca), root_ca=root_ca)
    cluster = with_unlock_key(cluster, rotate=rotate_unlock_key)
    tx.update(with_new_tokens(cluster, worker=rotate_worker, manager=rotate_manager))
    return cluster.id


def with_unlock_key(cluster: Cluster, *, rotate: bool = False) -> Cluster:
    """The cluster with an unlock key if autolock is on, and without one if it is off.

    Raises:
        InvalidArgumentError: the key is to be rotated while autolock is off.
    """
    if not cluster.spec.auto_lock:
        if rotate:
            raise InvalidArgumentError("cannot rotate the unlock key because autolock is not turned on")
        return replace(cluster, unlock_key="")
    if cluster.unlock_key and not rotate:
        return cluster
    return replace(cluster, unlock_key=unlockkey.generate())


def require_cluster_version(cluster: Cluster, version: int) -> None:
    if cluster.meta.version != version:
        raise StaleVersionError(OUT_OF_SEQUENCE)


def require_valid_spec(spec: ClusterSpec, before: ClusterSpec) -> None:
    if spec.annotations.name != before.annotations.name:
        raise InvalidArgumentError("modification of cluster name is not allowed")
    check_cluster_spec(spec)


def redact_cluster(cluster: Cluster) -> Cluster:
    """The cluster without keys and revoked nodes, as everyone but managers sees it."""
    rotation = cluster.root_ca.rotation
    hidden = None if rotation is None else replace(rotation, key=b"")
    return replace(
        cluster,
        spec=without_signing_material(cluster.spec),
        root_ca=replace(cluster.root_ca, key=b"", rotation=hidden),
        unlock_key="",
        revoked=(),
    )
