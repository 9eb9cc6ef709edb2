"""The one act that ends every recovery: STATE/manager/raft becomes the folder of a group of one.

Law: the old folder stays until the new one is whole. ``raft.new`` is built beside it, its ``member.json`` last; then ``raft`` becomes
``raft.old``, ``raft.new`` becomes ``raft``, and the old one goes. A process that dies on the way leaves either the old state or the new
one: ``settle``, which every start calls first, finishes a swap that began and clears away one that did not. Called by ``manager.founding``
and, before a manager runs, by the daemon. Blocking.
"""

import os
import secrets
import shutil
from pathlib import Path

import msgspec

from covey.clock import wall_clock
from covey.errors import ConflictError
from manager.config import ManagerConfig
from manager.identity import write_file
from manager.raft.core import ConfState, Snapshot, SnapshotMeta
from manager.raft.disk import Disk, Identity, is_member
from manager.raft.sealing import KeyRing
from manager.raft.snapshots import SnapshotFolder
from manager.recovery import Beginning, begin, raft_ids, replay
from manager.store import snapshot as store_snapshot


def settle(folder: Path) -> bool:
    """Bring a swap that was cut short to one of its two ends. Whether ``folder`` is that of a member then."""
    fresh, old = _beside(folder)
    if not folder.exists() and is_member(fresh):
        fresh.rename(folder)
        _sync(folder.parent)
    if fresh.exists():
        shutil.rmtree(fresh)
    if folder.exists() and old.exists():
        shutil.rmtree(old)
    return is_member(folder)


def has_state(folder: Path) -> bool:
    """Whether a manager that starts now finds a state to go on with; changes nothing."""
    return is_member(folder) or (not folder.exists() and is_member(_beside(folder)[0]))


def found_anew(config: ManagerConfig, ring: KeyRing) -> Beginning:
    """Found the group anew with this manager alone, from all that its own log holds.

    Raises:
        StorageError: the log cannot be read. ConflictError: it holds no state of the cluster.
    """
    folder = config.manager_dir / "raft"
    disk = Disk.open(folder, ring)
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
        beginning = begin(
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
    write(folder, ring, identity.cluster_id, beginning)
    return beginning


def write(folder: Path, ring: KeyRing, cluster_id: str, beginning: Beginning) -> None:
    """Make ``folder`` that of the group's only member, whatever it was before.

    Raises:
        OSError, WriteFailedError: the disk cannot hold it; what was there before stays.
    """
    settle(folder)
    fresh, old = _beside(folder)
    member = beginning.member
    conf = ConfState(voters=(member.raft_id,))
    data = store_snapshot.encode(beginning.view, beginning.members)
    snapshots = SnapshotFolder(fresh / "snapshots", ring)
    snapshots.open()
    snapshots.save(Snapshot(SnapshotMeta(beginning.index, beginning.term, conf), data))
    identity = Identity(cluster_id=cluster_id, raft_id=member.raft_id, node_id=member.node_id, members=(member,))
    write_file(fresh / "member.json", msgspec.json.encode(identity), 0o600)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _beside(folder: Path) -> tuple[Path, Path]:
    return folder.with_name(f"{folder.name}.new"), folder.with_name(f"{folder.name}.old")


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
