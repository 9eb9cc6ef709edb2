"""The cluster itself: one object with the settings that all managers share."""

from covey.objects.base import Annotations, Driver, Meta, Struct


class RaftSettings(Struct, frozen=True, kw_only=True):
    snapshot_interval: int = 10_000
    keep_old_snapshots: int = 0
    log_entries_for_slow_followers: int = 500
    election_tick: int = 10
    heartbeat_tick: int = 1


class ExternalCA(Struct, frozen=True, kw_only=True):
    """Somebody else who signs certificates. ``ca_cert`` is PEM of the root that it signs for; empty: the cluster's present root."""

    protocol: str = "cfssl"
    url: str = ""
    options: dict[str, str] = {}
    ca_cert: bytes = b""


class CASettings(Struct, frozen=True, kw_only=True):
    """``signing_cert`` and ``signing_key`` are of a request alone: what becomes of them is in ``RootCA``, and no stored spec has them."""

    node_cert_expiry_ns: int = 7_776_000_000_000_000
    force_rotate: int = 0
    signing_cert: bytes = b""
    signing_key: bytes = b""
    external_cas: tuple[ExternalCA, ...] = ()


class ClusterSpec(Struct, frozen=True, kw_only=True):
    """``heartbeat_period_ns`` is how often an agent says that it lives; ``task_history`` how many old tasks a slot keeps."""

    annotations: Annotations = Annotations(name="default")
    task_history: int = 5
    raft: RaftSettings = RaftSettings()
    heartbeat_period_ns: int = 1_000_000_000
    ca: CASettings = CASettings()
    auto_lock: bool = False
    task_log_driver: Driver | None = None


class RootRotation(Struct, frozen=True, kw_only=True):
    """PEM. The root that is to come. ``cross_signed`` carries its name and public key, signed by the present root."""

    cert: bytes = b""
    key: bytes = b""
    cross_signed: bytes = b""
    began_at_ns: int = 0


class RootCA(Struct, frozen=True, kw_only=True):
    """PEM. ``key`` never leaves the managers, and is empty where an external CA signs; ``cert_digest`` is the SHA-256 of the
    certificate's DER in hexadecimal.
    """

    key: bytes = b""
    cert: bytes = b""
    cert_digest: str = ""
    join_token_worker: str = ""
    join_token_manager: str = ""
    rotation: RootRotation | None = None


class RevokedNode(Struct, frozen=True, kw_only=True):
    """A node that was removed; no certificate of it holds after ``until_ns``."""

    node_id: str = ""
    until_ns: int = 0


class Cluster(Struct, frozen=True, kw_only=True):
    """``unlock_key`` opens what managers keep on their disks; empty while they are not locked. Like the root's key it never leaves them."""

    id: str
    meta: Meta = Meta()
    spec: ClusterSpec = ClusterSpec()
    root_ca: RootCA = RootCA()
    default_address_pool: tuple[str, ...] = ("10.0.0.0/8",)
    subnet_size: int = 24
    data_path_port: int = 4789
    unlock_key: str = ""
    revoked: tuple[RevokedNode, ...] = ()
