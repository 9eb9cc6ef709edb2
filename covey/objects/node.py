"""Nodes: hosts with an agent, and with a manager if that is their role."""

from covey.objects.attachment import NetworkAttachment
from covey.objects.base import Annotations, Meta, Struct
from covey.states import NodeAvailability, NodeRole, NodeState, Reachability


class Resources(Struct, frozen=True, kw_only=True):
    """CPU in billionths of a core, memory in bytes, processes (0: no limit), and generic resources: numbers by kind, and named ones as
    ``KIND=NAME``.
    """

    nano_cpus: int = 0
    memory_bytes: int = 0
    pids: int = 0
    generic: dict[str, int] = {}
    named_generic: tuple[str, ...] = ()


class Platform(Struct, frozen=True, kw_only=True):
    architecture: str = ""
    os: str = ""


class EngineDescription(Struct, frozen=True, kw_only=True):
    """``plugins`` are the drivers that the host can use, as ``TYPE/NAME``: Log, Network and Volume. Empty means unknown."""

    version: str = ""
    labels: dict[str, str] = {}
    plugins: tuple[str, ...] = ()


class TLSInfo(Struct, frozen=True, kw_only=True):
    """The roots that a node trusts (PEM), and the name and public key of its certificate's issuer (DER)."""

    trust_root: bytes = b""
    issuer_subject: bytes = b""
    issuer_public_key: bytes = b""


class WireGuardDescription(Struct, frozen=True, kw_only=True):
    """The node's end of encrypted tunnels: its public key in base64, the UDP port, and who implements it (``kernel``, ``wireguard-go``).
    While keys are rotated, the node may still send with ``previous_public_key``; others send to ``public_key`` only.
    """

    public_key: str = ""
    port: int = 0
    implementation: str = ""
    previous_public_key: str = ""


class HostRoute(Struct, frozen=True, kw_only=True):
    """A route of the host in CIDR notation, and its device."""

    destination: str = ""
    device: str = ""


class NodeDescription(Struct, frozen=True, kw_only=True):
    """The host as the agent describes it at the start of each session. ``data_path_addr`` is its VXLAN tunnel endpoint; empty if that is
    the address of its status. ``wireguard`` is None if the host cannot encrypt. ``addresses`` are all by which others may reach the host.
    ``routes`` are the host's own, which networks of the cluster avoid. ``agent_addr`` is HOST:PORT where the agent accepts connections of
    other nodes; empty if it serves no images.
    """

    hostname: str = ""
    platform: Platform = Platform()
    resources: Resources = Resources()
    engine: EngineDescription = EngineDescription()
    tls: TLSInfo = TLSInfo()
    data_path_addr: str = ""
    wireguard: WireGuardDescription | None = None
    addresses: tuple[str, ...] = ()
    routes: tuple[HostRoute, ...] = ()
    agent_addr: str = ""


class NodeSpec(Struct, frozen=True, kw_only=True):
    annotations: Annotations = Annotations()
    desired_role: NodeRole = NodeRole.WORKER
    availability: NodeAvailability = NodeAvailability.ACTIVE


class NodeStatus(Struct, frozen=True, kw_only=True):
    """``addr`` is the underlay address of the host, and its VXLAN tunnel endpoint unless its description names another."""

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
    """``role`` is the role in the node's certificate; it follows ``spec.desired_role`` when that is safe. ``version_before_spec`` is the
    version of the node before its present spec: a client that read a later version has seen this spec. ``attachments`` are the node's own
    addresses, one on the ingress network, given by the allocator.
    """

    id: str
    meta: Meta = Meta()
    spec: NodeSpec = NodeSpec()
    version_before_spec: int = 0
    role: NodeRole = NodeRole.WORKER
    description: NodeDescription = NodeDescription()
    status: NodeStatus = NodeStatus()
    manager_status: ManagerStatus | None = None
    attachments: tuple[NetworkAttachment, ...] = ()
    drain_deadline_ns: int = 0
    """Until when tasks of start-first services may stay on the drained node, for want of a replacement that runs elsewhere."""
