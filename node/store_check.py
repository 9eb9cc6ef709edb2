"""Checks of ``--store`` against this node's cluster: the daemon must be started for the store that its manager uses.

Invariant: a manager never starts on another store than its cluster's. Called when the daemon starts, and by ``node.membership``.
"""

from covey.errors import ConflictError, UnsupportedError
from manager.bootstrap.raft_directory import has_state
from manager.etcd import target
from node.node_record import NodeRecord
from node.options import DaemonOptions


def require_same_store(options: DaemonOptions, record: NodeRecord | None) -> None:
    """Endpoints may be others than before, for members of an etcd come and go; the prefix may not.

    Raises:
        ConflictError: the daemon was started for another store than the one that this node's manager used before.
    """
    if record is None:
        return
    if record.store and not options.store:
        raise ConflictError(
            f"this node is a manager of a cluster that keeps its state in etcd: start coveyd with --store {record.store}"
        )
    if record.store and target.parse_location(options.store).prefix != target.parse_location(record.store).prefix:
        raise ConflictError(
            f"this node is a manager of a cluster at {record.store}, not at {options.store}: start coveyd with that --store"
        )
    if options.store and not record.store and has_state(options.state_dir / "manager" / "raft"):
        raise ConflictError(
            "this node's manager keeps the cluster's state itself (Raft): start coveyd without --store, or leave the cluster first"
        )


def refuse_with_external_store(options: DaemonOptions, what: str) -> None:
    """Raises UnsupportedError for what is about managers that keep the cluster's state themselves."""
    if options.store:
        raise UnsupportedError(
            f"{what} is for managers that keep the cluster's state themselves; this daemon's store is {options.store}: "
            "back up and restore it with etcdctl snapshot"
        )
