"""TLS contexts between nodes, from a node's identity. Both sides present node certificates of the cluster.

Loading a certificate needs files, so key and certificate are written for a moment to the run directory, a tmpfs.
"""

import ssl
import tempfile
from pathlib import Path

from agent.identity import NodeIdentity


def server_context(identity: NodeIdentity, run_dir: Path) -> ssl.SSLContext:
    """A server that demands the certificate of a node. Blocks on files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return _with_identity(context, identity, run_dir)


def client_context(identity: NodeIdentity, run_dir: Path) -> ssl.SSLContext:
    """A client that verifies the server's node id as its host name. Blocks on files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = True
    return _with_identity(context, identity, run_dir)


def peer_node(certificate: object, cluster_id: str) -> str:
    """The node id in a verified peer certificate, as `getpeercert` returns it. Empty if it is not a node of this cluster."""
    if not isinstance(certificate, dict):
        return ""
    fields = {key: value for part in certificate.get("subject", ()) for key, value in part}
    is_node = fields.get("organizationalUnitName") in {"covey-manager", "covey-worker"}
    if not is_node or fields.get("organizationName") != cluster_id:
        return ""
    return str(fields.get("commonName", ""))


def _with_identity(context: ssl.SSLContext, identity: NodeIdentity, run_dir: Path) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=identity.root.decode())
    with tempfile.NamedTemporaryFile(dir=run_dir, prefix=".peer-") as file:  # mode 0600
        file.write(identity.certificate + b"\n" + identity.key)
        file.flush()
        context.load_cert_chain(file.name)
    return context
