"""Peer of a gRPC call: kind of caller, node and cluster, read from its verified certificate.

Invariant: a caller's role comes from the certificate's OU, the cluster from its O, the node from its CN.
Used by ``manager.authorize``, by servicers, and by ``manager.bootstrap.manager_probe``.
"""

import enum
from typing import Any
from urllib.parse import unquote

from covey.errors import UnauthenticatedError
from covey.grpc_errors import USER_METADATA, metadata_value
from covey.objects import Author
from covey.objects.base import Struct


class Caller(enum.Enum):
    """Kind of caller: ANONYMOUS on the join port, LOCAL on the Unix socket, WORKER and MANAGER with a certificate."""

    ANONYMOUS = "a host without a certificate"
    LOCAL = "the daemon of this host"
    WORKER = "a worker"
    MANAGER = "a manager"


class Peer(Struct, frozen=True, kw_only=True):
    """The caller of a method. ``node_id`` and ``cluster_id`` are empty for ANONYMOUS and LOCAL."""

    caller: Caller
    node_id: str = ""
    cluster_id: str = ""


_UNITS = {"covey-manager": Caller.MANAGER, "covey-worker": Caller.WORKER}


def peer_of_subject(subject: str) -> Peer:
    """The peer that a verified certificate's subject names, such as ``CN=…,OU=covey-worker,O=…``.

    Raises:
        UnauthenticatedError: it is not a certificate of a node.
    """
    fields = dict(part.split("=", 1) for part in subject.split(",") if "=" in part)
    caller = _UNITS.get(fields.get("OU", ""))
    if caller is None or not fields.get("CN"):
        raise UnauthenticatedError(f"the certificate ({subject}) does not belong to a node of a Covey cluster")
    return Peer(caller=caller, node_id=fields["CN"], cluster_id=fields.get("O", ""))


def peer_of(context: Any) -> Peer:
    """The caller of a method on the mTLS listener."""
    subject = context.auth_context().get("x509_subject", ())
    if not subject:
        raise UnauthenticatedError("this call needs the certificate of a node")
    return peer_of_subject(bytes(subject[0]).decode(errors="replace"))


def author_of(peer: Peer, context: Any, own_node_id: str) -> Author:
    """The author of what a caller changes. Managers are believed whom they name as their user; workers name nobody."""
    if peer.caller is Caller.ANONYMOUS:
        return Author(component="a host that joins")
    node_id = peer.node_id or own_node_id
    user = "" if peer.caller is Caller.WORKER else metadata_value(context.invocation_metadata(), USER_METADATA)
    return Author(user=unquote(str(user or "")), node_id=node_id)


def forwarded_user(context: Any) -> tuple[tuple[str, str], ...]:
    """The metadata that names the user of a call, for the same call to another manager."""
    user = metadata_value(context.invocation_metadata(), USER_METADATA)
    return ((USER_METADATA, str(user)),) if user else ()
