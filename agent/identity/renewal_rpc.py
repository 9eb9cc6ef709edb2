"""Certificate renewal call: the time of a renewal, and the RPC to the leading manager.

Invariant: the key stays the same, so certificate and key on disk belong together at any moment. Only the leader renews;
other managers answer with the leader's address. Called by `agent.identity.certificate_renewer` and by the daemon.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from grpc import aio

from agent.identity.csr import signing_request
from agent.identity.identity_store import IdentityStore
from agent.identity.node_identity import NodeIdentity
from covey.errors import CoveyError, UnavailableError
from covey.grpc_errors import LEADER_METADATA, error_from_status, metadata_value
from coveypb.v1 import ca_pb2, ca_pb2_grpc

_CALL_SECONDS = 12.0
_MAX_HOPS = 8
_PAUSE_SECONDS = 0.3


def renewal_time_ns(identity: NodeIdentity, fraction: float, validity_ns: int = 0) -> int:
    """When to renew: `fraction` in [0, 1) spreads the nodes over 50 to 80 % of the certificate's validity.

    `validity_ns` is the validity that the CA grants, if known. It matters for short ones: the certificate itself is
    backdated.
    """
    whole_ns = identity.not_after_ns - identity.not_before_ns
    validity_ns = min(whole_ns, validity_ns or whole_ns)
    return identity.not_after_ns - int(validity_ns * (0.5 - 0.3 * fraction))


async def renew_certificate(store: IdentityStore, managers: Sequence[str]) -> NodeIdentity:
    """Get a certificate with the role that the node has now, and save it.

    `managers` are HOST:PORT of mTLS listeners, or unix:PATH of the manager's socket on this host, which accepts an
    expired certificate.

    Raises:
        UnavailableError: no leader answered.
        PermissionDeniedError: this node was removed from the cluster.
    """
    async with store.lock:
        return await _renew(store, managers)


async def _renew(store: IdentityStore, managers: Sequence[str]) -> NodeIdentity:
    old = store.require()
    request = ca_pb2.RenewCertificateRequest(csr=signing_request(old.key))
    waiting = random.sample(list(managers), len(managers))
    failure: CoveyError = UnavailableError("cannot renew the certificate: no manager is known")
    for _ in range(_MAX_HOPS):
        if not waiting:
            break
        addr = waiting.pop(0)
        async with aio.insecure_channel(addr) if addr.startswith("unix:") else old.channel(addr) as channel:
            stub: Any = ca_pb2_grpc.CertificateRenewalStub(channel)
            try:
                answer = await stub.RenewCertificate(request, timeout=_CALL_SECONDS)
            except aio.AioRpcError as error:
                leader = metadata_value(error.trailing_metadata(), LEADER_METADATA)
                if leader is None:
                    sentence = f"renewing the certificate at {addr}: {error.details()}"
                    failure = error_from_status(error.code().name, sentence, error.trailing_metadata())
                    if not isinstance(failure, UnavailableError):
                        raise failure from error
                elif leader:
                    waiting.insert(0, str(leader))
                else:
                    await asyncio.sleep(_PAUSE_SECONDS)
                    waiting.append(addr)
                continue
        identity = NodeIdentity.parse(certificate=answer.certificate, key=old.key, root=answer.root_certificate)
        if not identity.issuer[0]:
            failure = UnavailableError(f"the manager at {addr} issued a certificate that none of its roots has signed")
            continue
        await asyncio.to_thread(store.save, identity)
        return identity
    raise failure
