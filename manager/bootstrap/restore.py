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
from manager.bootstrap.recovered_state import raft_ids, single_member_state
from manager.ca import certificates
from manager.ca.signing import CertificateSigner
from manager.config import ManagerConfig
from manager.identity import write_identity
from manager.keys.rotation import KeyRotator
from manager.store import Member
from manager.store.view import View

log = logging.getLogger(__name__)


class RestoredBackup(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup held."""

    head: BackupHeader
    view: View
    members: tuple[Member, ...]
    cluster: Cluster


def read(path: Path, key: str) -> RestoredBackup:
    """The backup, opened and whole.

    Raises:
        BackupError: it is damaged; UnauthenticatedError, InvalidArgumentError: the key is not its key; OSError.
    """
    with path.open("rb") as file:
        head, view, members = backup.unseal(file, key)
    cluster = next(iter(view.clusters), None)
    if cluster is None or cluster.id != head.cluster_id:
        raise BackupError("this backup holds no cluster: nothing can be restored from it")
    return RestoredBackup(head=head, view=view, members=members, cluster=cluster)


async def _require_no_live_manager(restored: RestoredBackup) -> None:
    for addr in await managers_at([member.addr for member in restored.members if member.addr], restored.cluster.id):
        raise ConflictError(
            f"the manager at {addr} is of the cluster in this backup, and lives: what is newer than the backup would be lost. If the "
            'cluster works, join it from here ("docker swarm join"); if its other managers are gone for good, use "docker swarm init '
            '--force-new-cluster" there. To go back to the backup all the same, switch every manager of the cluster off first'
        )


async def restore(config: ManagerConfig, keeper: KeyRotator, restored: RestoredBackup) -> None:
    """Write this node's identity and the group's folder.

    Raises:
        ConflictError: a manager of the cluster lives; CoveyError: nobody signs the node's certificate; OSError, StorageError: the disk.
    """
    await _require_no_live_manager(restored)
    cluster, node_id = restored.cluster, config.node_id or new_id()
    if restored.view.nodes.get(node_id) is not None:
        raise ConflictError(f"node {node_id} is in the backup: a restored cluster begins with a new node")
    key, request = certificates.new_csr()
    certificate = await _signed(cluster, request, node_id)
    beginning = single_member_state(
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
        config.identity_dir, certificate=certificate, key=keeper.node_key_on_disk(key), root=cluster.root_ca.cert
    )
    force_new_cluster.write_single_member_state(config, keeper.ring, cluster.id, beginning)
    log.warning("cluster %s is restored as of version %d, with node %s", cluster.id, restored.head.version, node_id)


async def _signed(cluster: Cluster, request: bytes, node_id: str) -> bytes:
    """This host has no certificate to show, which is what an external CA goes by."""
    try:
        return await CertificateSigner().sign(cluster, request, node_id, NodeRole.MANAGER)
    except UnavailableError as error:
        raise UnavailableError(
            f"the key of this cluster's root is with an external CA, which must sign the certificate of the manager that begins: "
            f"{error.message}. A host that restores has no certificate to show it: for as long as the restore takes, let the CA answer "
            "at that address without asking for one (cfssl serve without -mutual-tls-ca), on a network that this host alone reaches; "
            "nothing was changed, try again then"
        ) from error
