"""TLS identity of this manager: certificate, key and roots from STATE/identity, reloaded after a renewal without a restart.

Invariant: a manager writes the identity only once, when it creates or restores a cluster. The daemon renews the certificate.
Used by ``manager.main`` and by every caller that opens a channel to another manager.
"""

from collections.abc import Callable
from pathlib import Path

import grpc
import msgspec

from covey.durable_file import replace_file
from manager.caller import Peer, peer_of_subject

# gRPC uses the "minimum" as the timeout of one attempt and the "maximum" as the longest pause between attempts, as measurements show.
CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.ssl_target_name_override", "covey"),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
)


Stamp = tuple[int, ...]


class IdentityFiles(msgspec.Struct, frozen=True):
    """Files of an identity as PEM. ``root`` may contain several certificates. ``stamp`` identifies a version of the files."""

    certificate: bytes
    key: bytes
    root: bytes
    stamp: Stamp


class ManagerIdentity:
    """The identity of this manager. ``unseal`` decrypts the key under autolock."""

    def __init__(self, folder: Path, unseal: Callable[[bytes], bytes] = bytes) -> None:
        self._folder = folder
        self._unseal = unseal
        self._files = self._read()
        self._served = self._files.stamp

    @property
    def peer(self) -> Peer:
        """Node id, role and cluster id in the certificate."""
        from cryptography import x509

        subject = x509.load_pem_x509_certificate(self.files.certificate).subject
        return peer_of_subject(subject.rfc4514_string())

    @property
    def files(self) -> IdentityFiles:
        """The files, read again after the certificate or the roots were replaced."""
        if self._stamp() != self._files.stamp:
            self._files = self._read()
        return self._files

    def channel_credentials(self) -> grpc.ChannelCredentials:
        files = self.files
        return grpc.ssl_channel_credentials(files.root, files.key, files.certificate)

    def server_credentials(self, *, mutual: bool) -> grpc.ServerCredentials:
        """``mutual`` requires a certificate of this cluster from every client."""
        first = self.files
        served = [first.stamp]

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            files = self.files
            if files.stamp == served[0]:
                return None
            served[0] = files.stamp
            return _configuration(files, mutual=mutual)

        return grpc.dynamic_ssl_server_credentials(
            _configuration(first, mutual=mutual),
            fetch,  # type: ignore[arg-type]  # None means unchanged, which the stubs do not know
            require_client_authentication=mutual,
        )

    def _stamp(self) -> Stamp:
        stats = [(self._folder / name).stat() for name in ("node.crt", "root.crt")]
        return tuple(number for stat in stats for number in (stat.st_mtime_ns, stat.st_ino))

    def _read(self) -> IdentityFiles:
        stamp = self._stamp()
        return IdentityFiles(
            (self._folder / "node.crt").read_bytes(),
            self._unseal((self._folder / "node.key").read_bytes()),
            (self._folder / "root.crt").read_bytes(),
            stamp,
        )


def write_identity(folder: Path, *, certificate: bytes, key: bytes, root: bytes) -> None:
    """Writes the identity of a new cluster's manager. ``node.crt`` is last: if it exists, all files do."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, data, mode in (("root.crt", root, 0o644), ("node.key", key, 0o600), ("node.crt", certificate, 0o644)):
        replace_file(folder / name, data, mode)


def _configuration(files: IdentityFiles, *, mutual: bool) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(files.key, files.certificate)], files.root if mutual else None)
