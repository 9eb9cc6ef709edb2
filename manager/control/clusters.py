"""The cluster's own settings and tokens. Pure functions on a transaction, run by the servicer."""

from covey.errors import InvalidArgumentError, StaleVersionError, UnsupportedError
from covey.objects import Cluster, ClusterSpec, replace
from covey.settings import check_spec
from manager.ca.cluster import rotated
from manager.control.services import OUT_OF_SEQUENCE
from manager.store import Tx


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
    if spec.ca.force_rotate != before.ca.force_rotate:
        raise UnsupportedError("rotation of the root certificate is not supported yet")
    check_spec(spec)


def without_key(cluster: Cluster) -> Cluster:
    """The cluster as anybody but managers sees it."""
    return replace(cluster, root_ca=replace(cluster.root_ca, key=b""))
