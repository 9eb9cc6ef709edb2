"""Errors as gRPC statuses: the code and the kind of each error class, one table for both ends of a call. Imports no gRPC.

A server ends a failed call with the code, the sentence for people as the details, and the kind in the trailing metadata ``covey-error``.

Invariant: the client gets back the class that the server raised, whatever the sentence says. A status without a kind was not made by a
Covey server: the connection failed, and the outcome of the call is unknown.

Called by ``manager.grpc_status`` (server) and by every client (engine, agent, managers among themselves).
"""

from collections.abc import Iterable

from covey import errors

CODES: dict[type[errors.CoveyError], str] = {
    errors.InvalidArgumentError: "INVALID_ARGUMENT",
    errors.UnauthenticatedError: "UNAUTHENTICATED",
    errors.PermissionDeniedError: "PERMISSION_DENIED",
    errors.NotFoundError: "NOT_FOUND",
    errors.AlreadyExistsError: "ALREADY_EXISTS",
    errors.ConflictError: "FAILED_PRECONDITION",
    errors.PreconditionError: "FAILED_PRECONDITION",
    errors.StaleVersionError: "ABORTED",
    errors.TooLargeError: "RESOURCE_EXHAUSTED",
    errors.UnsupportedError: "UNIMPLEMENTED",
    errors.UnavailableError: "UNAVAILABLE",
    errors.DeadlineError: "DEADLINE_EXCEEDED",
    errors.LaggedError: "DATA_LOSS",
    errors.NodeRemovedError: "PERMISSION_DENIED",
    errors.NoLeaderError: "UNAVAILABLE",
}
"""The name of the gRPC code of each class. Classes with the same code differ by their kind only."""

ERROR_METADATA = "covey-error"
"""Trailing metadata of every error that a Covey server raised: the kind of the error."""
LEADER_METADATA = "covey-leader"
"""Trailing metadata of a manager that does not lead: ``HOST:PORT`` of the leader's mTLS listener, empty when there is none now."""

USER_METADATA = "covey-user"
"""Metadata of a call: the user of the Engine API who caused it, percent-encoded. Only daemons of managers may say so."""

Metadata = Iterable[tuple[str, str | bytes]]

_KINDS = {kind.__name__: kind for kind in CODES}
_CLASSES = {code: kind for kind, code in reversed(CODES.items())}


def code_name(error: BaseException) -> str:
    """The name of an error's gRPC code; INTERNAL for one without a meaning to the caller."""
    kind = _known_class(error)
    return CODES[kind] if kind is not None else "INTERNAL"


def error_metadata(error: BaseException) -> tuple[tuple[str, str], ...]:
    """The trailing metadata that tells a client the class of an error; empty for one without a meaning to the caller."""
    kind = _known_class(error)
    return ((ERROR_METADATA, kind.__name__),) if kind is not None else ()


def error_kind(error: BaseException) -> str:
    """The kind of an error, as it is sent; empty for one without a meaning to the caller."""
    kind = _known_class(error)
    return kind.__name__ if kind is not None else ""


def error_from_kind(kind: str, message: str) -> errors.CoveyError:
    """The error of a kind that was sent; CoveyError for an unknown one."""
    return _KINDS.get(kind, errors.CoveyError)(message)


def metadata_value(metadata: Metadata | None, key: str) -> str | None:
    """The value of a key in a call's trailing metadata, None when absent."""
    for name, value in metadata or ():
        if name == key:
            return value if isinstance(value, str) else value.decode(errors="replace")
    return None


def raised_by_server(metadata: Metadata | None) -> bool:
    """Whether a Covey server raised the failure with this trailing metadata; otherwise the connection failed."""
    return metadata_value(metadata, ERROR_METADATA) is not None


def error_from_status(code: str, details: str, metadata: Metadata | None) -> errors.CoveyError:
    """The error that a failed call stands for: by its kind, or else by its code's name; CoveyError for an unknown code."""
    kind = _KINDS.get(metadata_value(metadata, ERROR_METADATA) or "") or _CLASSES.get(code, errors.CoveyError)
    return kind(details or f"the call failed: {code}")


def _known_class(error: BaseException) -> type[errors.CoveyError] | None:
    return next((kind for kind in type(error).__mro__ if kind in CODES), None)
