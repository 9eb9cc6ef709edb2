"""A node's identity on disk: STATE/identity/{root.crt,node.crt,node.key}.

Law: ``node.crt`` is written last and replaced by rename, and a renewal keeps the key; so at any moment the files there belong together.
Called by the session, the daemon and whoever opens a channel to a manager.
"""

import asyncio
import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.x509.oid import NameOID

from covey import trust
from covey.clock import SECOND
from covey.durable_file import replace_file
from covey.errors import UnauthenticatedError
from covey.objects import TLSInfo
from covey.objects.base import Struct
from covey.states import NodeRole

SHARED_NAME = "covey"
CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.ssl_target_name_override", SHARED_NAME),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 8 << 20),
)
_ROLES = {"covey-manager": NodeRole.MANAGER, "covey-worker": NodeRole.WORKER}
_KEY_MODE = 0o600
_CERTIFICATE_MODE = 0o644


class NodeIdentity(Struct, frozen=True, kw_only=True):
    """PEM texts, and what the certificate says. ``certificate`` carries its issuer behind the node's own; ``root`` may be several."""

    node_id: str
    role: NodeRole
    cluster_id: str
    certificate: bytes
    key: bytes
    root: bytes
    not_before_ns: int
    not_after_ns: int

    @classmethod
    def parse(cls, *, certificate: bytes, key: bytes, root: bytes) -> "NodeIdentity":
        """Raises UnauthenticatedError when the certificate is not a node's."""
        try:
            parsed = x509.load_pem_x509_certificate(certificate)
        except ValueError as error:
            raise UnauthenticatedError("the node's certificate does not parse") from error
        role = _ROLES.get(_field(parsed, NameOID.ORGANIZATIONAL_UNIT_NAME))
        node_id = _field(parsed, NameOID.COMMON_NAME)
        if role is None or not node_id:
            raise UnauthenticatedError("the node's certificate carries no node id and role of a Covey cluster")
        return cls(
            node_id=node_id,
            role=role,
            cluster_id=_field(parsed, NameOID.ORGANIZATION_NAME),
            certificate=certificate,
            key=key,
            root=root,
            not_before_ns=_nanoseconds(parsed.not_valid_before_utc),
            not_after_ns=_nanoseconds(parsed.not_valid_after_utc),
        )

    @property
    def issuer(self) -> tuple[bytes, bytes]:
        """Name and public key of who signed the certificate, both DER; empty if that is none of those it came with."""
        return trust.issuer_subject_and_key(self.certificate, self.root)

    @property
    def tls_info(self) -> TLSInfo:
        """What the node says of it to the managers."""
        subject, public_key = self.issuer
        return TLSInfo(trust_root=self.root, issuer_subject=subject, issuer_public_key=public_key)

    def credentials(self) -> grpc.ChannelCredentials:
        """For a channel to any manager of this cluster, with ``CHANNEL_OPTIONS``."""
        return grpc.ssl_channel_credentials(self.root, self.key, self.certificate)

    def channel(self, addr: str) -> grpc.aio.Channel:
        """A channel to a manager's mTLS listener; the caller closes it."""
        return grpc.aio.secure_channel(addr, self.credentials(), options=CHANNEL_OPTIONS)


class IdentityStore:
    """The files of one node. ``load`` reads again only when they have changed. ``unseal`` opens a manager's key, which is sealed on
    disk while managers are locked; what is not sealed it returns as it is.
    """

    def __init__(self, state_dir: Path, unseal: Callable[[bytes], bytes] = bytes) -> None:
        self.folder = state_dir / "identity"
        self._unseal = unseal
        self._cached: NodeIdentity | None = None
        self._stamp: tuple[int, ...] = ()
        self.lock = asyncio.Lock()
        """Held by whoever replaces files: two renewals at once could leave the older certificate."""

    def load(self) -> NodeIdentity | None:
        """The identity as it is on disk now; None if this node has none."""
        path = self.folder / "node.crt"
        try:
            stats = [path.stat(), (self.folder / "root.crt").stat()]
        except FileNotFoundError:
            self._cached = None
            return None
        stamp = tuple(number for stat in stats for number in (stat.st_mtime_ns, stat.st_ino))
        if self._cached is None or stamp != self._stamp:
            self._cached = NodeIdentity.parse(
                certificate=path.read_bytes(),
                key=self._unseal((self.folder / "node.key").read_bytes()),
                root=(self.folder / "root.crt").read_bytes(),
            )
            self._stamp = stamp
        return self._cached

    def require(self) -> NodeIdentity:
        """Raises UnauthenticatedError when this node has none."""
        identity = self.load()
        if identity is None:
            raise UnauthenticatedError(f"this node has no identity in {self.folder}: join a cluster first")
        return identity

    def save(self, identity: NodeIdentity) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self.folder / "root.crt", identity.root, _CERTIFICATE_MODE)
        if not self._has_key(identity.key):  # a renewal keeps the key, and a manager may be sealing it just now
            replace_file(self.folder / "node.key", identity.key, _KEY_MODE)
        replace_file(self.folder / "node.crt", identity.certificate, _CERTIFICATE_MODE)

    def save_roots(self, roots: bytes) -> None:
        """Trust these roots, PEM, and no others."""
        replace_file(self.folder / "root.crt", roots, _CERTIFICATE_MODE)

    def _has_key(self, key: bytes) -> bool:
        try:
            return self._unseal((self.folder / "node.key").read_bytes()) == key
        except FileNotFoundError:
            return False

    def store_key_unsealed(self) -> None:
        """The key lies plain from now on: this node is no manager any more, and has nothing to open it with."""
        path = self.folder / "node.key"
        sealed = path.read_bytes()
        plain = self._unseal(sealed)
        if plain != sealed:
            replace_file(path, plain, _KEY_MODE)

    def remove(self) -> None:
        """Forget who this node was."""
        (self.folder / "node.crt").unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._cached = None


def _field(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    values = certificate.subject.get_attributes_for_oid(oid)
    return str(values[0].value) if values else ""


def _nanoseconds(moment: dt.datetime) -> int:
    return int(moment.timestamp()) * SECOND
