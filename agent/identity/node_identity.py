"""Identity of a node: its key, its certificate with node id and role, the roots it trusts, and channels to managers.

Called by the session, the daemon, and the join and renewal clients. `agent.identity.identity_store` keeps it on disk.
"""

import datetime as dt

import grpc
from cryptography import x509
from cryptography.x509.oid import NameOID

from covey import trust
from covey.clock import SECOND
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


class NodeIdentity(Struct, frozen=True, kw_only=True):
    """Certificate, key and roots in PEM, and the fields of the certificate.

    `certificate` may be followed by its issuer's chain; `root` may hold several certificates.
    """

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
        """Read the fields of the certificate. Raises UnauthenticatedError if it is not a node's."""
        try:
            parsed = x509.load_pem_x509_certificate(certificate)
        except ValueError as error:
            raise UnauthenticatedError("the node's certificate does not parse") from error
        role = _ROLES.get(_field(parsed, NameOID.ORGANIZATIONAL_UNIT_NAME))
        node_id = _field(parsed, NameOID.COMMON_NAME)
        if role is None or not node_id:
            raise UnauthenticatedError("the node's certificate contains no node id and role of a Covey cluster")
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
        """Subject and public key (DER) of the certificate's issuer; empty if the issuer is not among the known roots."""
        return trust.issuer_subject_and_key(self.certificate, self.root)

    @property
    def tls_info(self) -> TLSInfo:
        """The TLS information that the node reports to the managers."""
        subject, public_key = self.issuer
        return TLSInfo(trust_root=self.root, issuer_subject=subject, issuer_public_key=public_key)

    def credentials(self) -> grpc.ChannelCredentials:
        """Credentials for a channel to any manager of this cluster, together with `CHANNEL_OPTIONS`."""
        return grpc.ssl_channel_credentials(self.root, self.key, self.certificate)

    def channel(self, addr: str) -> grpc.aio.Channel:
        """A new channel to a manager's mTLS listener. The caller closes it."""
        return grpc.aio.secure_channel(addr, self.credentials(), options=CHANNEL_OPTIONS)


def _field(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    values = certificate.subject.get_attributes_for_oid(oid)
    return str(values[0].value) if values else ""


def _nanoseconds(moment: dt.datetime) -> int:
    return int(moment.timestamp()) * SECOND
