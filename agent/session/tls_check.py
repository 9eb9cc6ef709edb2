"""TLS check: whether this node trusts the certificate of a manager. Used to tell a foreign or rotated root from a broken connection.

gRPC reports both as UNAVAILABLE and differs only in the text, so the session asks again with a TLS handshake of its own.
"""

import asyncio
import ssl

from agent.identity.node_identity import SHARED_NAME

_HANDSHAKE_SECONDS = 1.0


async def is_untrusted(addr: str, root_pem: bytes) -> bool:
    """Whether the manager at ``addr`` (HOST:PORT) shows a certificate that ``root_pem`` does not verify. False if none could be read."""
    host, _, port = addr.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # only the root matters here; gRPC itself checks the name
    context.set_alpn_protocols(["h2"])
    try:
        context.load_verify_locations(cadata=root_pem.decode())
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            _, writer = await asyncio.open_connection(
                host.strip("[]"), int(port), ssl=context, server_hostname=SHARED_NAME
            )
    except ssl.SSLCertVerificationError:
        return True
    except (OSError, TimeoutError, ValueError):
        return False
    writer.transport.abort()
    return False
