"""Joining a cluster by token: fetch the root certificate, check it, request a certificate, and store the identity.

Invariant: the token's secret is sent only to a manager whose root certificate has the token's digest. The first
connection accepts any server certificate; only the digest makes the root trusted. Called by `node.membership`.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

import grpc
from grpc import aio

from agent.identity.csr import new_key, signing_request
from agent.identity.identity_store import IdentityStore
from agent.identity.node_identity import CHANNEL_OPTIONS, NodeIdentity
from covey import jointoken
from covey.errors import CoveyError, InvalidArgumentError, UnauthenticatedError, UnavailableError
from covey.grpc_errors import error_from_status
from covey.states import NodeAvailability
from coveypb.v1 import ca_pb2, ca_pb2_grpc, objects_pb2

JOIN_PORT = 2377
_CONNECT_SECONDS = 5.0
_ISSUE_SECONDS = 15.0


async def join_cluster(
    store: IdentityStore,
    token: str,
    addrs: Sequence[str],
    *,
    availability: NodeAvailability = NodeAvailability.ACTIVE,
) -> NodeIdentity:
    """Join the cluster of the first manager at `addrs` that answers (HOST or HOST:PORT of the join port).

    Raises:
        InvalidArgumentError: the token is malformed, or an address is.
        UnauthenticatedError: the token is another cluster's, or was rotated.
        UnavailableError: no manager answered.
    """
    parsed = jointoken.parse(token)
    if not addrs:
        raise InvalidArgumentError("at least one manager address is needed to join: HOST:PORT")
    failure: CoveyError = UnavailableError("no manager address was given")
    for addr in [_with_port(addr) for addr in addrs]:
        try:
            root = await _fetch_root(addr)
            if jointoken.root_digest(root) != parsed.digest:
                raise UnauthenticatedError(
                    f"the manager at {addr} is not in the token's cluster: its root certificate does not match "
                    "the token's digest; the token was not sent. Check the address, or get a new token"
                )
            identity = await _issue(addr, root, str(parsed), availability)
        except UnavailableError as error:
            failure = error
            continue
        await asyncio.to_thread(store.save, identity)
        return identity
    raise failure


async def _fetch_root(addr: str) -> bytes:
    """The root certificate that the manager presents, not yet verified against the token."""
    host, port = _split(addr)
    try:
        leaf = await asyncio.to_thread(ssl.get_server_certificate, (host, port), timeout=_CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise UnavailableError(
            f"no manager answers at {addr}: {error}; check the address, and that port {port}/tcp is open"
        ) from error
    credentials = grpc.ssl_channel_credentials(leaf.encode())
    async with aio.secure_channel(addr, credentials, options=CHANNEL_OPTIONS) as channel:
        stub = ca_pb2_grpc.CertificateAuthorityStub(channel)
        try:
            answer = await _awaited(
                stub.GetRootCertificate(ca_pb2.GetRootCertificateRequest(), timeout=_CONNECT_SECONDS)
            )
        except aio.AioRpcError as error:
            raise UnavailableError(f"no Covey manager answers at {addr}: {error.details()}") from error
    return bytes(answer.certificate)


async def _issue(addr: str, root: bytes, token: str, availability: NodeAvailability) -> NodeIdentity:
    """Request a certificate over a channel that trusts only this root. During a root rotation the answer has more roots."""
    key = new_key()
    request = ca_pb2.IssueCertificateRequest(
        csr=signing_request(key),
        token=token,
        availability=objects_pb2.NodeAvailability.ValueType(int(availability)),
    )
    async with aio.secure_channel(addr, grpc.ssl_channel_credentials(root), options=CHANNEL_OPTIONS) as channel:
        stub = ca_pb2_grpc.CertificateAuthorityStub(channel)
        try:
            answer = await _awaited(stub.IssueCertificate(request, timeout=_ISSUE_SECONDS))
        except aio.AioRpcError as error:
            raise error_from_status(error.code().name, error.details() or "", error.trailing_metadata()) from error
    identity = NodeIdentity.parse(certificate=answer.certificate, key=key, root=answer.root_certificate)
    if not identity.issuer[0]:
        raise UnauthenticatedError(f"the manager at {addr} issued a certificate that none of its roots has signed")
    return identity


async def _awaited(call: Any) -> Any:
    """Await a call. The stubs are typed for synchronous channels too."""
    return await call


def _with_port(addr: str) -> str:
    host, port = _split(addr)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _split(addr: str) -> tuple[str, int]:
    host, separator, port = addr.rpartition(":")
    if not separator or (":" in host and not host.startswith("[")):
        return addr.strip("[]"), JOIN_PORT
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidArgumentError(f"invalid address {addr}: expected HOST or HOST:PORT")
    return host.strip("[]"), int(port)
