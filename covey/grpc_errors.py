"""Each error's gRPC code by name, one table for both ends of a call. It imports no gRPC, so that every part may read it.

Law: the table is one to one, so a client gets back the class that the server raised; the sentence travels as the status's details.
Called by ``manager.grpc_status`` (server) and by every client (engine, agent).
"""

from covey import errors

CODES: dict[type[errors.CoveyError], str] = {
    errors.InvalidArgumentError: "INVALID_ARGUMENT",
    errors.UnauthenticatedError: "UNAUTHENTICATED",
    errors.PermissionDeniedError: "PERMISSION_DENIED",
    errors.NotFoundError: "NOT_FOUND",
    errors.AlreadyExistsError: "ALREADY_EXISTS",
    errors.ConflictError: "FAILED_PRECONDITION",
    errors.StaleVersionError: "ABORTED",
    errors.TooLargeError: "RESOURCE_EXHAUSTED",
    errors.UnsupportedError: "UNIMPLEMENTED",
    errors.UnavailableError: "UNAVAILABLE",
    errors.DeadlineError: "DEADLINE_EXCEEDED",
    errors.LaggedError: "DATA_LOSS",
}
_CLASSES = {code: kind for kind, code in CODES.items()}

# Trailing metadata of a manager that does not lead: "HOST:PORT" of the leader's mTLS listener, empty when there is none now.
LEADER_METADATA = "covey-leader"


def code_name(error: BaseException) -> str:
    """The gRPC code's name for an error; INTERNAL for one without a meaning to the caller."""
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return "INTERNAL"


_TRANSPORT = (
    "failed to connect",
    "socket closed",
    "stream removed",
    "connection",
    "goaway",
    "cancelling all calls",
    "keepalive",
    "recvmsg",
    "channel",
    "transport",
)


def is_meant(details: str) -> bool:
    """Whether UNAVAILABLE is the server's own sentence, rather than gRPC's about a connection: then nobody knows what became of it."""
    return bool(details) and not any(word in details.lower() for word in _TRANSPORT)


def error_from_code(name: str, details: str) -> errors.CoveyError:
    """The error that a status with this code's name stands for; the base class for a code outside the table."""
    return _CLASSES.get(name, errors.CoveyError)(details or f"the call failed: {name}")
