"""Bootstrap of a manager on Raft: creates a cluster, joins one, or continues with the state on disk.

Invariant: STATE/manager/raft is complete or counts as empty, so a process that crashed on the way starts again. Called by ``manager.main``
before anything runs.
"""

import logging
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec

from covey import unlockkey
from covey.clock import wall_clock
from covey.cluster_settings import check_address_pools, check_new_cluster_spec
from covey.errors import ConflictError, UnavailableError
from covey.ids import new_id
from covey.objects import Cluster, Meta, Node, NodeDescription, NodeSpec, replace
from covey.states import NodeRole
from manager.bootstrap import force_new_cluster, raft_directory, restore
from manager.bootstrap.restore import RestoredBackup
from manager.ca import certificates
from manager.ca.cluster_trust import new_cluster, root_pair
from manager.config import ManagerConfig, ManagerMode, with_root_key
from manager.identity import ManagerIdentity, write_identity
from manager.keys import DataKeys, LockedError, file
from manager.keys.core_dumps import keep_out_of_dumps
from manager.keys.rotation import KeyRotator
from manager.keys.startup_secrets import StartupSecrets, announce_unlock_key, receive
from manager.raft import join_client
from manager.raft.disk import MemberIdentity, create_group, create_member
from manager.storage_errors import StorageError
from manager.store import Member
from manager.store import snapshot as store_snapshot
from manager.store.schema import CLUSTERS, NODES
from manager.store.view import View

log = logging.getLogger(__name__)


ReadSecrets = Callable[[], StartupSecrets]
"""What came over standard input; asked by who needs it alone."""


def take_root_key(config: ManagerConfig, hand: ReadSecrets = receive) -> ManagerConfig:
    """With the private key of the root that the cluster is to have, if one was given.

    Raises:
        UnavailableError: it did not come.
    """
    if not config.root_key_handed:
        return config
    key = hand().root_key
    if not key:
        raise UnavailableError("the private key of the root did not come from the daemon: try again")
    return with_root_key(config, key)


def read_backup(config: ManagerConfig, hand: ReadSecrets = receive) -> RestoredBackup | None:
    """What a manager that restores begins with; None for others, and for one that has done it.

    Raises:
        CoveyError: the backup, or its key, is not good; OSError: it cannot be read.
    """
    if config.mode is not ManagerMode.RESTORE or raft_directory.has_state(config.manager_dir / "raft"):
        return None
    return restore.read(Path(config.restore_path), hand().backup_key)


def open_keys(config: ManagerConfig, restored: RestoredBackup | None = None, hand: ReadSecrets = receive) -> KeyRotator:
    """What seals this manager's disk; made when it begins, under an unlock key from the first byte on if a founder is to be locked.

    Raises:
        LockedError: no unlock key came over standard input, or none that fits. StorageError: the keys are damaged or gone.
    """
    path = config.manager_dir / file.NAME
    begins = not raft_directory.has_state(config.manager_dir / "raft")
    rejoins = begins and config.mode is ManagerMode.JOIN
    if begins and config.mode is ManagerMode.BOOTSTRAP:
        keys = _first_keys_of_cluster(config, path, hand)
    elif restored is not None:
        keys = _first_keys(path, restored.cluster.unlock_key)
    else:
        known = file.read(path, hand().unlock_keys if file.is_locked(path) else ())
        if known is None and not begins:
            raise StorageError(f"{path} is gone, and the log is sealed with what was in it: put it back from a copy")
        keys = _first_keys(path, "") if known is None else _without_version(path, known) if rejoins else known
    if keys.unlock_key:
        keep_out_of_dumps()
    return KeyRotator(path, config.identity_dir / "node.key", keys, announce_unlock_key)


def _first_keys_of_cluster(config: ManagerConfig, path: Path, hand: ReadSecrets) -> DataKeys:
    """A founder that died on the way goes on with the keys that it made. Keys that nobody can open any more sealed nothing that counts,
    as long as there is no identity.
    """
    locks = config.cluster_spec.auto_lock
    if path.exists() and file.is_locked(path) == locks:
        try:
            known = file.read(path, hand().unlock_keys if locks else ())
        except LockedError:
            if (config.identity_dir / "node.crt").exists():
                raise
        else:
            if known is not None:
                return known
    return _first_keys(path, unlockkey.generate() if locks else "")


def _first_keys(path: Path, unlock_key: str) -> DataKeys:
    if unlock_key:
        announce_unlock_key(unlock_key)
    keys = file.new_keys(unlock_key)
    file.write(path, keys)
    return keys


def _without_version(path: Path, known: DataKeys) -> DataKeys:
    """The keys of a membership that is over, for the next one: the cluster's object may have a lower version now, if it was restored."""
    keys = msgspec.structs.replace(known, version=0)
    if keys != known:
        file.write(path, keys)
    return keys


async def prepare_raft_state(
    config: ManagerConfig, keeper: KeyRotator, restored: RestoredBackup | None = None
) -> ManagerIdentity:
    """Makes STATE/manager/raft that of a member, if it is not yet; returns who this manager is.

    Raises:
        CoveyError: no manager took this one in; ConflictError: there is nothing to go on with.
    """
    folder = config.manager_dir / "raft"
    if raft_directory.finish_replacement(folder):
        if config.mode is ManagerMode.FORCE:
            beginning = force_new_cluster.force_new_cluster(config, keeper.ring)
            log.warning(
                "the group is founded anew with this manager alone, at entry %d of term %d; %d memberships of before are over",
                beginning.index,
                beginning.term,
                len(beginning.retired),
            )
        return ManagerIdentity(config.identity_dir, keeper.unseal)
    if restored is not None:
        await restore.restore(config, keeper, restored)
        return ManagerIdentity(config.identity_dir, keeper.unseal)
    match config.mode:
        case ManagerMode.BOOTSTRAP:
            _create_cluster(config, keeper)
            return ManagerIdentity(config.identity_dir, keeper.unseal)
        case ManagerMode.JOIN:
            identity = ManagerIdentity(config.identity_dir, keeper.unseal)
            peer = identity.peer
            joined = await join_client.join(
                config.join_addrs, identity.channel_credentials, node_id=peer.node_id, addr=config.addr
            )
            create_member(
                folder,
                MemberIdentity(
                    cluster_id=peer.cluster_id, raft_id=joined.raft_id, node_id=peer.node_id, members=joined.members
                ),
            )
            return identity
        case _:
            raise ConflictError(
                f"there is no manager's state in {folder}: this node must join the cluster as a manager again"
            )


def first_objects(config: ManagerConfig, keeper: KeyRotator, now_ns: int) -> tuple[Cluster, Node]:
    """The first two objects of a new cluster, whatever engine will keep them; this node's identity is on disk when it returns."""
    check_new_cluster_spec(config.cluster_spec)
    cluster = _configured(new_cluster(config.cluster_spec, now_ns), config)
    cluster = replace(cluster, unlock_key=keeper.unlock_key)
    check_address_pools(cluster.default_address_pool, cluster.subnet_size)
    node_id = config.node_id or new_id()
    key, request = certificates.new_csr()
    certificate = certificates.issue_certificate(
        root_pair(cluster),
        request,
        node_id=node_id,
        role=NodeRole.MANAGER,
        cluster_id=cluster.id,
        now_ns=now_ns,
        lifetime_ns=cluster.spec.ca.node_cert_expiry_ns,
    )
    write_identity(
        config.identity_dir, certificate=certificate, key=keeper.node_key_on_disk(key), root=cluster.root_ca.cert
    )
    return cluster, _first_node(config, node_id)


def _create_cluster(config: ManagerConfig, keeper: KeyRotator) -> None:
    now_ns = wall_clock()
    cluster, node = first_objects(config, keeper, now_ns)
    member = Member(raft_id=secrets.randbits(62) + 1, node_id=node.id, addr=config.addr)
    view = first_view(cluster, node, now_ns)
    create_group(
        config.manager_dir / "raft",
        keeper.ring,
        MemberIdentity(cluster_id=cluster.id, raft_id=member.raft_id, node_id=node.id, members=(member,)),
        store_snapshot.encode(view, (member,)),
    )
    log.info("founded cluster %s with node %s", cluster.id, node.id)


def first_view(cluster: Cluster, node: Node, now_ns: int) -> View:
    """The store's state at the beginning."""
    meta = Meta(version=1, created_at_ns=now_ns, updated_at_ns=now_ns)
    view = View.empty().put(CLUSTERS, cluster.id, replace(cluster, meta=meta))
    return view.put(NODES, node.id, replace(node, meta=meta)).at(1)


def _configured(cluster: Cluster, config: ManagerConfig) -> Cluster:
    return replace(
        cluster,
        default_address_pool=config.default_address_pool or cluster.default_address_pool,
        subnet_size=config.subnet_size or cluster.subnet_size,
        data_path_port=config.data_path_port or cluster.data_path_port,
    )


def _first_node(config: ManagerConfig, node_id: str) -> Node:
    return Node(
        id=node_id,
        spec=NodeSpec(desired_role=NodeRole.MANAGER, availability=config.availability),
        role=NodeRole.MANAGER,
        description=NodeDescription(hostname=config.hostname),
    )
