"""The error classes of all of Covey. Each class has one meaning to the caller.

``covey.grpc_errors`` maps a class to a gRPC code, ``engine.errors`` to an HTTP status; no code parses a message. A message says what
happened, to which object, and what to do.
"""


class CoveyError(Exception):
    """Base of all errors with a meaning to the caller."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidArgumentError(CoveyError):
    """The request is invalid in any state of the cluster (HTTP 400)."""


class UnauthenticatedError(CoveyError):
    """The caller's token or certificate is not accepted (HTTP 401)."""


class PermissionDeniedError(CoveyError):
    """The caller is authenticated but may not do this (HTTP 403)."""


class NodeRemovedError(PermissionDeniedError):
    """The calling node was removed from the cluster; its certificate is no longer accepted (HTTP 403)."""


class NotFoundError(CoveyError):
    """No such object (HTTP 404)."""


class AlreadyExistsError(CoveyError):
    """The name or resource is taken (HTTP 409)."""


class ConflictError(CoveyError):
    """The object is in use or in the wrong state, or the reference is ambiguous (HTTP 409)."""


class PreconditionError(CoveyError):
    """The cluster refuses the change in its present state, such as the removal of a network in use (HTTP 400, as Docker answers)."""


class PortInUseError(CoveyError):
    """A port of the host is taken, by another container or by another program (Docker answers 500)."""


class StaleVersionError(CoveyError):
    """The object changed since the version that the caller read (Docker answers 500 "update out of sequence")."""


class TooLargeError(CoveyError):
    """The request exceeds a limit that the message names (HTTP 400, as Docker answers for objects)."""


class UnsupportedError(CoveyError):
    """Covey or this host does not support it; the message says which (HTTP 501)."""


class UnavailableError(CoveyError):
    """There is no leader, the node is not a manager or is shutting down (HTTP 503). A later retry may succeed."""


class NoLeaderError(UnavailableError):
    """There is no leader, and the manager that answers has waited for one already, so an immediate retry is pointless (HTTP 503)."""


class DeadlineError(CoveyError):
    """A deadline passed; the outcome may be unknown (HTTP 504)."""


class LaggedError(CoveyError):
    """A reader's bounded queue overflowed; the reader must start again from a snapshot."""


def first_cause(error: BaseException) -> BaseException:
    """The first error in an exception group, at any depth; any other error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
