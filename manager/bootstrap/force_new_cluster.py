"""Force new cluster: replaces STATE/manager/raft with the state of a single-member Raft group. Blocking.

Invariant: the old state or the new one is complete on disk at any moment, see ``manager.bootstrap.raft_directory``.
``restore`` ends with the same step.
"""

import secrets

import msgspec

from covey.clock import wall_clock
from covey.durable_file import replace_file
from covey.errors import ConflictError
from manager.bootstrap import raft_directory
from manager.bootstrap.recovered_state import SingleMemberState, raft_ids, replay, single_member_state
from manager.config import ManagerConfig
from manager.keys.key_ring import KeyRing
from manager.raft.core import ConfState, Snapshot, SnapshotMeta
from manager.raft.disk import Disk, MemberIdentity
from manager.raft.snapshots import SnapshotFolder
from manager.store import snapshot as store_snapshot


def force_new_cluster(config: ManagerConfig, ring: KeyRing) -> SingleMemberState:
    """Makes this manager the only member of a new group, with everything that its own log contains.

    Raises:
        StorageError: the log cannot be read. ConflictError: this manager has no state of the cluster.
    """
    disk = Disk.open(config.manager_dir / "raft", ring)
    try:
        if disk.snapshot is None:
            raise ConflictError(
                "this manager has not received the cluster's state yet: use --force-new-cluster on a manager that was "
                'a full member, or "swarm leave --force" here'
            )
        metadata, storage, identity = disk.snapshot.metadata, disk.storage, disk.identity
        last = storage.last_index()
        entries = storage.entries(metadata.index + 1, last + 1, 1 << 62) if last > metadata.index else []
        view, members = store_snapshot.decode(metadata.index, disk.snapshot.data)
        state = single_member_state(
            replay(view, entries),
            node_id=identity.node_id,
            hostname=config.hostname,
            addr=config.addr,
            host=config.advertise_addr,
            new_raft_id=secrets.randbits(62) + 1,
            retired=raft_ids((*identity.members, *members), entries),
            last_index=max(last, metadata.index),
            last_term=max(storage.initial_state()[0].term, metadata.term),
            now_ns=wall_clock(),
        )
    finally:
        disk.close()
    write_single_member_state(config, ring, identity.cluster_id, state)
    return state


def write_single_member_state(config: ManagerConfig, ring: KeyRing, cluster_id: str, state: SingleMemberState) -> None:
    """Replaces STATE/manager/raft with the state of a group's only member.

    Raises:
        OSError, WriteFailedError: the disk failed; the previous state is unchanged.
    """
    folder = config.manager_dir / "raft"
    raft_directory.finish_replacement(folder)
    fresh, member = raft_directory.staging_path(folder), state.member
    conf = ConfState(voters=(member.raft_id,))
    data = store_snapshot.encode(state.view, state.members)
    snapshots = SnapshotFolder(fresh / "snapshots", ring)
    snapshots.open()
    snapshots.save(Snapshot(SnapshotMeta(state.index, state.term, conf), data))
    identity = MemberIdentity(cluster_id=cluster_id, raft_id=member.raft_id, node_id=member.node_id, members=(member,))
    replace_file(fresh / "member.json", msgspec.json.encode(identity), 0o600)
    raft_directory.replace_with_staged(folder)
