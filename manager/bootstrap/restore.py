"""Restore of a cluster from a backup: same id, root, tokens and objects, with this node as its only manager.

Invariant: nothing is written before the whole backup is read and verified, and no manager of that cluster answers: the restored cluster
ends their memberships. The identity of this node is written first, then the Raft directory in one step. A process that crashes on the way
starts again. Called by ``manager.main`` and ``manager.bootstrap``. Blocking, except for network calls.
"""

import logging
import secrets
from pathlib import Path

import msgspec

from covey.backup_format import BackupError, BackupHeader
from covey.clock import wall_clock
from covey.errors import ConflictError, UnavailableError
from covey.ids import new_id
from covey.objects import Cluster
from covey.states import NodeRole
from manager import backup
from manager.bootstrap import force_new_cluster
from manager.bootstrap.manager_probe import managers_at
from manager.bootstrap.raft_directory import has_state
from manager.bootstrap.recovered_state import raft_ids, single_member_state
from manager.ca import certificates
from manager.ca.signing import CertificateSigner
from manager.config import ManagerConfig, ManagerMode
from manager.identity import write_identity
from manager.keys.rotation import KeyRotator
from manager.keys.startup_secrets import ReadSecrets, receive
from manager.store import Member
from manager.store.view import View

log = logging.getLogger(__name__)


class RestoredBackup(msgspec.Struct, frozen=True, kw_only=True):
    """Content of a backup."""

    head: BackupHeader
    view: View
    members: tuple[Member, ...]
    cluster: Cluster


def read(path: Path, key: str) -> RestoredBackup:
    """Decrypts and verifies a backup file.

    Raises:
        BackupError: it is damaged; UnauthenticatedError, InvalidArgumentError: the key does not fit; OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head, view, members = backup.unseal(file, key)
    cluster = next(iter(view.clusters), None)
    if cluster is None or cluster.id != head.cluster_id:
        raise BackupError("this backup contains no cluster, so nothing can be restored from it")
    return RestoredBackup(head=head, view=view, members=members, cluster=cluster)


def read_backup(config: ManagerConfig, read_secrets: ReadSecrets = receive) -> RestoredBackup | None:
    """The backup of a manager in RESTORE mode. None in other modes, and when the restore was done before.

    Raises:
        CoveyError: the backup is damaged or its key does not fit; OSError: the file cannot be read.
    """
    if config.mode is not ManagerMode.RESTORE or has_state(config.manager_dir / "raft"):
        return None
    return read(Path(config.restore_path), read_secrets().backup_key)


async def _require_no_live_manager(restored: RestoredBackup) -> None:
    for addr in await managers_at([member.addr for member in restored.members if member.addr], restored.cluster.id):
        raise ConflictError(
            f"the manager at {addr} belongs to the cluster in this backup and is running: changes newer than the backup would be lost. If "
            'the cluster works, join it from here ("swarm join"). If its other managers are lost for good, run "swarm init '
            '--force-new-cluster" there. To restore the backup anyway, stop every manager of the cluster first'
        )


async def restore(config: ManagerConfig, rotator: KeyRotator, restored: RestoredBackup) -> None:
    """Writes this node's identity and the Raft directory.

    Raises:
        ConflictError: a manager of the cluster is running; CoveyError: the node's certificate cannot be signed; OSError, StorageError: the
        disk failed.
    """
    await _require_no_live_manager(restored)
    cluster, node_id = restored.cluster, config.node_id or new_id()
    if restored.view.nodes.get(node_id) is not None:
        raise ConflictError(f"node {node_id} is in the backup: restore with a new node id")
    key, request = certificates.new_csr()
    certificate = await _signed(cluster, request, node_id)
    state = single_member_state(
        restored.view,
        node_id=node_id,
        hostname=config.hostname,
        addr=config.addr,
        host=config.advertise_addr,
        new_raft_id=secrets.randbits(62) + 1,
        retired=raft_ids(restored.members, ()),
        last_index=restored.head.version,
        last_term=restored.head.term,
        now_ns=wall_clock(),
    )
    write_identity(
        config.identity_dir, certificate=certificate, key=rotator.node_key_on_disk(key), root=cluster.root_ca.cert
    )
    force_new_cluster.write_single_member_state(config, rotator.ring, cluster.id, state)
    log.warning("restored cluster %s at version %d, with node %s", cluster.id, restored.head.version, node_id)


async def _signed(cluster: Cluster, request: bytes, node_id: str) -> bytes:
    """Signs with the cluster's root key, or asks the external CA without a client certificate: this host has none yet."""
    try:
        return await CertificateSigner().sign(cluster, request, node_id, NodeRole.MANAGER)
    except UnavailableError as error:
        raise UnavailableError(
            f"the root key of this cluster is held by an external CA, which must sign the certificate of the first manager: "
            f"{error.message}. A host that restores has no client certificate. During the restore, let the CA accept requests without one "
            "(cfssl serve without -mutual-tls-ca), on a network that only this host can reach. No changes were made; try again then"
        ) from error
