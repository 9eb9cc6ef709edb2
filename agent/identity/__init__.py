"""Node identity: key, certificate and trusted roots; joining a cluster by token; certificate renewal.

Invariant: a manager's root certificate is checked against the digest in the token before the token's secret is sent.
"""

from agent.identity.certificate_renewer import CertificateRenewer, DesiredCertificate
from agent.identity.identity_store import IdentityStore
from agent.identity.join import join_cluster
from agent.identity.node_identity import NodeIdentity
from agent.identity.renewal_rpc import renew_certificate, renewal_time_ns

__all__ = [
    "CertificateRenewer",
    "DesiredCertificate",
    "IdentityStore",
    "NodeIdentity",
    "join_cluster",
    "renew_certificate",
    "renewal_time_ns",
]
