"""Probe for live managers: reads the server certificate at an address, which needs no permission to call anything.

Invariant: a server that shows a certificate of a manager of the cluster counts as alive, even if it refuses every call. This is not trust:
the probe runs before ``force_new_cluster`` and ``restore``, where a false answer only causes a refusal.
Called by ``node.quorum`` and ``manager.bootstrap.restore``.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Iterable

from covey.errors import UnauthenticatedError
from manager.caller import Caller, Peer, peer_of_subject

PROBE_SECONDS = 2.0


async def manager_at(addr: str, cluster_id: str) -> str:
    """The node id of the cluster's manager at ``addr`` (HOST:PORT of its mTLS listener). Empty if none answers within 2 s."""
    shown = None
    with contextlib.suppress(OSError, ValueError, TimeoutError, UnauthenticatedError):
        async with asyncio.timeout(PROBE_SECONDS):
            shown = _peer(await _certificate(addr))
    if shown is None or shown.cluster_id != cluster_id or shown.caller is not Caller.MANAGER:
        return ""
    return shown.node_id


async def managers_at(addrs: Iterable[str], cluster_id: str) -> dict[str, str]:
    """The node ids of the managers that answer, by address. All addresses are probed concurrently."""
    asked = tuple(dict.fromkeys(addrs))
    found = await asyncio.gather(*(manager_at(addr, cluster_id) for addr in asked))
    return {addr: node_id for addr, node_id in zip(asked, found, strict=True) if node_id}


async def _certificate(addr: str) -> bytes:
    """The server's certificate as DER, without verification."""
    host, _, port = addr.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    try:
        return bytes(writer.get_extra_info("ssl_object").getpeercert(binary_form=True) or b"")
    finally:
        writer.transport.abort()


def _peer(certificate: bytes) -> Peer:
    from cryptography import x509

    return peer_of_subject(x509.load_der_x509_certificate(certificate).subject.rfc4514_string())
