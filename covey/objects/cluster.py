"""The cluster object: settings, root CA, join tokens, unlock key. There is one in the store."""

from covey.objects.base import Annotations, Driver, Meta, Struct


class RaftSettings(Struct, frozen=True, kw_only=True):
    snapshot_interval: int = 10_000
    keep_old_snapshots: int = 0
    log_entries_for_slow_followers: int = 500
    election_tick: int = 10
    heartbeat_tick: int = 1


class ExternalCA(Struct, frozen=True, kw_only=True):
    """An external CA that signs certificates. ``ca_cert`` is PEM of the root that it signs for; empty: the cluster's current root."""

    protocol: str = "cfssl"
    url: str = ""
    options: dict[str, str] = {}
    ca_cert: bytes = b""


class CASettings(Struct, frozen=True, kw_only=True):
    """``signing_cert`` and ``signing_key`` are set in requests only. They become part of ``RootCA`` and are never stored in a spec."""

    node_cert_expiry_ns: int = 7_776_000_000_000_000
    force_rotate: int = 0
    signing_cert: bytes = b""
    signing_key: bytes = b""
    external_cas: tuple[ExternalCA, ...] = ()


class ClusterSpec(Struct, frozen=True, kw_only=True):
    """``heartbeat_period_ns`` is the interval of an agent's heartbeats, ``task_history`` the number of old tasks kept for each slot."""

    annotations: Annotations = Annotations(name="default")
    task_history: int = 5
    raft: RaftSettings = RaftSettings()
    heartbeat_period_ns: int = 1_000_000_000
    ca: CASettings = CASettings()
    auto_lock: bool = False
    task_log_driver: Driver | None = None


class RootRotation(Struct, frozen=True, kw_only=True):
    """An unfinished rotation to a new root, in PEM. ``cross_signed`` has the new root's name and public key, signed by the old root."""

    cert: bytes = b""
    key: bytes = b""
    cross_signed: bytes = b""
    started_at_ns: int = 0


class RootCA(Struct, frozen=True, kw_only=True):
    """The root CA in PEM, with the join tokens. ``key`` never leaves the managers; it is empty if an external CA signs. ``cert_digest`` is
    the SHA-256 of the certificate's DER in hexadecimal.
    """

    key: bytes = b""
    cert: bytes = b""
    cert_digest: str = ""
    join_token_worker: str = ""
    join_token_manager: str = ""
    rotation: RootRotation | None = None


class RevokedNode(Struct, frozen=True, kw_only=True):
    """A removed node. All its certificates have expired by ``until_ns``."""

    node_id: str = ""
    until_ns: int = 0


class Cluster(Struct, frozen=True, kw_only=True):
    """``unlock_key`` decrypts the managers' disks; it is empty while autolock is off, and never leaves the managers. ``default_networks``
    says that the networks of every new cluster were created; a user may have removed the ingress network since. ``highest_vni`` is the
    highest VXLAN id of a network that was removed, 0 if there was none.
    """

    id: str
    meta: Meta = Meta()
    spec: ClusterSpec = ClusterSpec()
    root_ca: RootCA = RootCA()
    default_address_pool: tuple[str, ...] = ("10.0.0.0/8",)
    subnet_size: int = 24
    data_path_port: int = 4789
    unlock_key: str = ""
    revoked: tuple[RevokedNode, ...] = ()
    default_networks: bool = False
    highest_vni: int = 0
