"""First objects of a new cluster: the Cluster with its root CA, and the Node of its first manager.

Invariant: independent of the consensus backend. ``manager.bootstrap.raft_state`` and ``manager.etcd.backend`` store these objects.
"""

from covey.cluster_settings import check_address_pools, check_new_cluster_spec
from covey.ids import new_id
from covey.objects import Cluster, Meta, Node, NodeDescription, NodeSpec, replace
from covey.states import NodeRole
from manager.ca import certificates
from manager.ca.cluster_trust import new_cluster, root_pair
from manager.config import ManagerConfig
from manager.identity import write_identity
from manager.keys.rotation import KeyRotator
from manager.store.schema import CLUSTERS, NODES
from manager.store.view import View


def first_objects(config: ManagerConfig, rotator: KeyRotator, now_ns: int) -> tuple[Cluster, Node]:
    """The first two objects of a new cluster. Writes this node's identity to disk."""
    check_new_cluster_spec(config.cluster_spec)
    cluster = _configured(new_cluster(config.cluster_spec, now_ns), config)
    cluster = replace(cluster, unlock_key=rotator.unlock_key)
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
        config.identity_dir, certificate=certificate, key=rotator.node_key_on_disk(key), root=cluster.root_ca.cert
    )
    return cluster, _first_node(config, node_id)


def first_view(cluster: Cluster, node: Node, now_ns: int) -> View:
    """The store of a new cluster."""
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
