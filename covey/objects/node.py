"""A node: a host with an agent, and with a manager if its role says so."""

from covey.objects.base import Annotations, Meta, Struct
from covey.states import NodeAvailability, NodeRole, NodeState, Reachability


class Resources(Struct, frozen=True, kw_only=True):
    """CPU in billionths of a core, memory in bytes, processes (0: no limit), named counts of whatever else a host offers."""

    nano_cpus: int = 0
    memory_bytes: int = 0
    pids: int = 0
    generic: dict[str, int] = {}


class Platform(Struct, frozen=True, kw_only=True):
    architecture: str = ""
    os: str = ""


class EngineDescription(Struct, frozen=True, kw_only=True):
    version: str = ""
    labels: dict[str, str] = {}


class TLSInfo(Struct, frozen=True, kw_only=True):
    """``trust_root`` is PEM; the issuer of the certificate by its name and public key, both DER."""

    trust_root: bytes = b""
    issuer_subject: bytes = b""
    issuer_public_key: bytes = b""


class NodeDescription(Struct, frozen=True, kw_only=True):
    """What the agent says of its host at each session."""

    hostname: str = ""
    platform: Platform = Platform()
    resources: Resources = Resources()
    engine: EngineDescription = EngineDescription()
    tls: TLSInfo = TLSInfo()


class NodeSpec(Struct, frozen=True, kw_only=True):
    annotations: Annotations = Annotations()
    desired_role: NodeRole = NodeRole.WORKER
    availability: NodeAvailability = NodeAvailability.ACTIVE


class NodeStatus(Struct, frozen=True, kw_only=True):
    """``addr`` is the underlay address of the host, where its VXLAN tunnels end."""

    state: NodeState = NodeState.UNKNOWN
    message: str = ""
    addr: str = ""
    changed_at_ns: int = 0


class ManagerStatus(Struct, frozen=True, kw_only=True):
    """``addr`` is HOST:PORT of the manager's mTLS listener (2378)."""

    raft_id: int = 0
    addr: str = ""
    leader: bool = False
    reachability: Reachability = Reachability.UNKNOWN


class Node(Struct, frozen=True, kw_only=True):
    """``role`` is what the node's certificate may say now; it follows ``spec.desired_role`` when that is safe. ``spec_after`` is a version
    from before the spec came: whoever saw a later one of the node has seen this spec.
    """

    id: str
    meta: Meta = Meta()
    spec: NodeSpec = NodeSpec()
    spec_after: int = 0
    role: NodeRole = NodeRole.WORKER
    description: NodeDescription = NodeDescription()
    status: NodeStatus = NodeStatus()
    manager_status: ManagerStatus | None = None
