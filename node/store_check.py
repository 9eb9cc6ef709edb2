"""Checks of ``--store`` against this node's cluster: the daemon must be started for the store that its manager uses.

Invariant: a manager never starts on another store than its cluster's. Called when the daemon starts, and by ``node.membership``.
"""

from covey.errors import ConflictError, UnsupportedError
from manager.interface import has_raft_state, parse_store_location
from node.node_record import NodeRecord
from node.options import DaemonOptions


def require_same_store(options: DaemonOptions, record: NodeRecord | None) -> None:
    """Return if the daemon's store is the cluster's. Its endpoints may change, because members of an etcd do; its prefix may not.

    Raises:
        ConflictError: the daemon was started for another store than the one that this node's manager used before.
    """
    if record is None:
        return
    if record.store and not options.store:
        raise ConflictError(
            f"this node is a manager of a cluster that stores its state in etcd: start coveyd with --store {record.store}"
        )
    if record.store and parse_store_location(options.store).prefix != parse_store_location(record.store).prefix:
        raise ConflictError(
            f"this node is a manager of a cluster at {record.store}, not at {options.store}: start coveyd with that --store"
        )
    if options.store and not record.store and has_raft_state(options.state_dir / "manager"):
        raise ConflictError(
            "this node's manager stores the cluster's state itself (Raft): start coveyd without --store, or leave the cluster first"
        )


def refuse_with_external_store(options: DaemonOptions, operation: str) -> None:
    """Return if managers store the cluster's state themselves.

    Raises:
        UnsupportedError: the operation is not possible with an external store.
    """
    if options.store:
        raise UnsupportedError(
            f"{operation} needs managers that store the cluster's state themselves; this daemon uses the store {options.store}: "
            "back up and restore it with etcdctl snapshot"
        )
