"""How a manager comes into being: founding a cluster, joining one, or going on with what is on its disk.

Law: STATE/manager/raft is complete or counts as empty, so a process that died on the way simply does it again. Called by ``manager.main``
before anything runs.
"""

import logging
import secrets

from covey.clock import wall_clock
from covey.errors import ConflictError
from covey.ids import new_id
from covey.objects import Cluster, Meta, Node, NodeDescription, NodeSpec, replace
from covey.settings import check_pools, check_spec
from covey.states import NodeRole
from manager import refounding, swap
from manager.ca import certificates
from manager.ca.cluster import new_cluster, root_pair
from manager.config import ManagerConfig, ManagerMode
from manager.identity import ManagerIdentity, write_file, write_identity
from manager.raft import joining
from manager.raft.disk import Identity, enter_group, found_group
from manager.raft.sealing import KEY_BYTES, KeyRing
from manager.store import Member
from manager.store import snapshot as store_snapshot
from manager.store.schema import CLUSTERS, NODES
from manager.store.view import View

log = logging.getLogger(__name__)


def data_key(config: ManagerConfig) -> KeyRing:
    """The key that seals what lies on this manager's disk; made at the first start."""
    path = config.manager_dir / "data.key"
    config.manager_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        write_file(path, secrets.token_bytes(KEY_BYTES), 0o600)
    return KeyRing.of(path.read_bytes())


async def prepare(config: ManagerConfig, ring: KeyRing) -> ManagerIdentity:
    """Makes STATE/manager/raft that of a member, if it is not yet; returns who this manager is.

    Raises:
        CoveyError: no manager took this one in; ConflictError: there is nothing to go on with.
    """
    folder = config.manager_dir / "raft"
    if swap.settle(folder):
        if config.mode is ManagerMode.FORCE:
            beginning = refounding.found_anew(config, ring)
            log.warning(
                "the group is founded anew with this manager alone, at entry %d of term %d; %d memberships of before are over",
                beginning.index,
                beginning.term,
                len(beginning.retired),
            )
        return ManagerIdentity(config.identity_dir)
    match config.mode:
        case ManagerMode.BOOTSTRAP:
            _found(config, ring)
            return ManagerIdentity(config.identity_dir)
        case ManagerMode.JOIN:
            identity = ManagerIdentity(config.identity_dir)
            peer = identity.peer
            joined = await joining.join(
                config.join_addrs, identity.channel_credentials, node_id=peer.node_id, addr=config.addr
            )
            enter_group(
                folder,
                Identity(
                    cluster_id=peer.cluster_id, raft_id=joined.raft_id, node_id=peer.node_id, members=joined.members
                ),
            )
            return identity
        case _:
            raise ConflictError(
                f"there is no manager's state in {folder}: this node must join the cluster as a manager again"
            )


def _found(config: ManagerConfig, ring: KeyRing) -> None:
    now_ns = wall_clock()
    check_spec(config.cluster_spec)
    cluster = _configured(new_cluster(config.cluster_spec, now_ns), config)
    check_pools(cluster.default_address_pool, cluster.subnet_size)
    node_id = config.node_id or new_id()
    key, request = certificates.new_request()
    certificate = certificates.issue(
        root_pair(cluster),
        request,
        node_id=node_id,
        role=NodeRole.MANAGER,
        cluster_id=cluster.id,
        now_ns=now_ns,
        life_ns=cluster.spec.ca.node_cert_expiry_ns,
    )
    write_identity(config.identity_dir, certificate=certificate, key=key, root=cluster.root_ca.cert)
    member = Member(raft_id=secrets.randbits(62) + 1, node_id=node_id, addr=config.addr)
    view = first_view(cluster, _first_node(config, node_id), now_ns)
    found_group(
        config.manager_dir / "raft",
        ring,
        Identity(cluster_id=cluster.id, raft_id=member.raft_id, node_id=node_id, members=(member,)),
        store_snapshot.encode(view, (member,)),
    )
    log.info("founded cluster %s with node %s", cluster.id, node_id)


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
