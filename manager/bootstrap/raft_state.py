"""Preparation of a manager's Raft state: create a cluster, join one, force a new cluster, restore a backup, or continue.

Invariant: STATE/manager/raft is complete or counts as empty, so a process that crashes on the way starts again.
Called by ``manager.main`` before the Raft backend opens.
"""

import logging
import secrets

from covey.clock import wall_clock
from covey.errors import ConflictError
from manager.bootstrap import force_new_cluster, raft_directory, restore
from manager.bootstrap.new_cluster import first_objects, first_view
from manager.bootstrap.restore import RestoredBackup
from manager.config import ManagerConfig, ManagerMode
from manager.identity import ManagerIdentity
from manager.keys.rotation import KeyRotator
from manager.raft import join_client
from manager.raft.disk import MemberIdentity, create_group, create_member
from manager.store import Member
from manager.store import snapshot as store_snapshot

log = logging.getLogger(__name__)


async def prepare_raft_state(
    config: ManagerConfig, rotator: KeyRotator, restored: RestoredBackup | None = None
) -> ManagerIdentity:
    """Makes STATE/manager/raft the state of a group member, unless it is already. Returns the identity of this manager.

    Raises:
        CoveyError: no manager accepted this one; ConflictError: this node has no state to continue with.
    """
    folder = config.manager_dir / "raft"
    if raft_directory.finish_replacement(folder):
        if config.mode is ManagerMode.FORCE:
            state = force_new_cluster.force_new_cluster(config, rotator.ring)
            log.warning(
                "this manager is now the only member of a new group, from entry %d of term %d; %d former memberships are over",
                state.index,
                state.term,
                len(state.retired),
            )
    elif restored is not None:
        await restore.restore(config, rotator, restored)
    elif config.mode is ManagerMode.BOOTSTRAP:
        _create_cluster(config, rotator)
    elif config.mode is ManagerMode.JOIN:
        await _join_group(config, ManagerIdentity(config.identity_dir, rotator.unseal))
    else:
        raise ConflictError(f"there is no manager state in {folder}: join this node to the cluster as a manager again")
    return ManagerIdentity(config.identity_dir, rotator.unseal)


async def _join_group(config: ManagerConfig, identity: ManagerIdentity) -> None:
    peer = identity.peer
    joined = await join_client.join(
        config.join_addrs, identity.channel_credentials, node_id=peer.node_id, addr=config.addr
    )
    member = MemberIdentity(
        cluster_id=peer.cluster_id, raft_id=joined.raft_id, node_id=peer.node_id, members=joined.members
    )
    create_member(config.manager_dir / "raft", member)


def _create_cluster(config: ManagerConfig, rotator: KeyRotator) -> None:
    now_ns = wall_clock()
    cluster, node = first_objects(config, rotator, now_ns)
    member = Member(raft_id=secrets.randbits(62) + 1, node_id=node.id, addr=config.addr)
    view = first_view(cluster, node, now_ns)
    create_group(
        config.manager_dir / "raft",
        rotator.ring,
        MemberIdentity(cluster_id=cluster.id, raft_id=member.raft_id, node_id=node.id, members=(member,)),
        store_snapshot.encode(view, (member,)),
    )
    log.info("created cluster %s with node %s", cluster.id, node.id)
