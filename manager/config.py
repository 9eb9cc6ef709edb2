"""Configuration of a manager process: one JSON file, written by the daemon (``node``) and read by ``manager.main``."""

from enum import StrEnum
from pathlib import Path

import msgspec

from covey.objects import ClusterSpec
from covey.states import NodeAvailability

JOIN_PORT = 2377
MTLS_PORT = 2378


class ManagerMode(StrEnum):
    """How a manager starts. BOOTSTRAP creates a cluster with its root CA and this node's identity. JOIN asks another manager to become a
    member. RESTART continues with the state in STATE/manager, and so do JOIN, BOOTSTRAP and RESTORE once they are done. FORCE makes this
    manager the only member of a new group, with its own state. RESTORE does so with a backup, on a host outside of any cluster.
    """

    BOOTSTRAP = "bootstrap"
    JOIN = "join"
    RESTART = "restart"
    FORCE = "force"
    RESTORE = "restore"


class ManagerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``advertise_addr`` is the address of this host for other hosts, without a port. ``listen_addr`` is the address of the listeners.
    ``remote_addr`` is HOST:PORT of the mTLS listener for other managers; empty means ADVERTISE_ADDR:MTLS_PORT. ``join_addrs`` are HOST:PORT
    of other managers' mTLS listeners. ``node_id`` may be empty with BOOTSTRAP. ``cluster_spec`` and the four fields after it are used only
    by BOOTSTRAP. ``restore_path`` is the backup of RESTORE; its key comes over standard input. With ``root_key_handed`` the private key of
    the root CA in ``cluster_spec`` comes over standard input too. ``engine_host`` is the address of this host's Engine API, through which
    watched stacks are deployed; without one they are not.
    """

    state_dir: str
    run_dir: str
    node_id: str = ""
    hostname: str = ""
    advertise_addr: str = "127.0.0.1"
    listen_addr: str = "0.0.0.0"
    remote_addr: str = ""
    join_port: int = JOIN_PORT
    mtls_port: int = MTLS_PORT
    mode: ManagerMode = ManagerMode.RESTART
    join_addrs: tuple[str, ...] = ()
    cluster_spec: ClusterSpec = ClusterSpec()
    availability: NodeAvailability = NodeAvailability.ACTIVE
    default_address_pool: tuple[str, ...] = ()
    root_key_handed: bool = False
    subnet_size: int = 0
    data_path_port: int = 0
    restore_path: str = ""
    engine_host: str = ""
    store: str = ""
    store_ca: str = ""
    store_cert: str = ""
    store_key: str = ""
    log_level: str = "info"

    def __post_init__(self) -> None:
        """Accepts paths as well as text, as JSON has only text."""
        msgspec.structs.force_setattr(self, "state_dir", str(self.state_dir))
        msgspec.structs.force_setattr(self, "run_dir", str(self.run_dir))

    @property
    def addr(self) -> str:
        """HOST:PORT of the mTLS listener for other managers."""
        return self.remote_addr or f"{self.advertise_addr}:{self.mtls_port}"

    @property
    def identity_dir(self) -> Path:
        return Path(self.state_dir) / "identity"

    @property
    def manager_dir(self) -> Path:
        return Path(self.state_dir) / "manager"

    @property
    def socket_path(self) -> Path:
        return Path(self.run_dir) / "manager.sock"


def without_root_key(config: ManagerConfig) -> tuple[ManagerConfig, bytes]:
    """Splits off the root's private key, which must not be in a file. The key is empty if there is none."""
    key = config.cluster_spec.ca.signing_key
    if not key:
        return config, b""
    return msgspec.structs.replace(config, cluster_spec=_with_root_key(config, b""), root_key_handed=True), key


def with_root_key(config: ManagerConfig, key: bytes) -> ManagerConfig:
    """Reverses ``without_root_key``."""
    return msgspec.structs.replace(config, cluster_spec=_with_root_key(config, key), root_key_handed=False)


def _with_root_key(config: ManagerConfig, key: bytes) -> ClusterSpec:
    spec = config.cluster_spec
    return msgspec.structs.replace(spec, ca=msgspec.structs.replace(spec.ca, signing_key=key))


def load(path: Path) -> ManagerConfig:
    """Reads the file. Raises OSError, or msgspec.ValidationError, which names the field."""
    return msgspec.json.decode(path.read_bytes(), type=ManagerConfig)
