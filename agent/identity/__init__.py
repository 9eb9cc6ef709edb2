"""Who this node is: its key, its certificate and the root it trusts; how it joins a cluster by token, and how it renews.

Law: the root is checked by the token's digest before the token's secret is told to anybody.
"""

from agent.identity.certificate_renewer import CertificateRenewer, DesiredCertificate
from agent.identity.join import join_cluster
from agent.identity.node_identity import IdentityStore, NodeIdentity
from agent.identity.renewal import renew_certificate, renewal_time_ns

__all__ = [
    "CertificateRenewer",
    "DesiredCertificate",
    "IdentityStore",
    "NodeIdentity",
    "join_cluster",
    "renew_certificate",
    "renewal_time_ns",
]
