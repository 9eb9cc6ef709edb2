"""The errors that every part of Covey raises towards a person or a peer.

Each class is one meaning. The edges map a class to a gRPC code (``manager.grpc_status``) and to an HTTP status
(``engine.errors``) in one table each; nobody parses a message. A message says what happened, to which object, and what to do.
"""


class CoveyError(Exception):
    """Base of all errors with a meaning to the caller."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidArgumentError(CoveyError):
    """The request cannot be right whatever the state is (HTTP 400)."""


class UnauthenticatedError(CoveyError):
    """The caller's token or certificate is not accepted (HTTP 401)."""


class PermissionDeniedError(CoveyError):
    """The caller is known and may not do this (HTTP 403)."""


class NodeRemovedError(PermissionDeniedError):
    """The calling node was removed from the cluster: its certificate is worth nothing any more (HTTP 403)."""


class NotFoundError(CoveyError):
    """No such object (HTTP 404)."""


class AlreadyExistsError(CoveyError):
    """The name or resource is taken (HTTP 409)."""


class ConflictError(CoveyError):
    """The object's state forbids it: in use, wrong state, ambiguous reference (HTTP 409)."""


class StaleVersionError(CoveyError):
    """The object changed since the version that the caller read (Docker answers 500 "update out of sequence")."""


class TooLargeError(CoveyError):
    """Over a bound that the message names (HTTP 400, as Docker does for objects)."""


class UnsupportedError(CoveyError):
    """Covey does not have this yet, or this host cannot do it; the message says which (HTTP 501)."""


class UnavailableError(CoveyError):
    """Not now: no leader, not a manager, shutting down (HTTP 503). Retrying later may succeed."""


class DeadlineError(CoveyError):
    """A wait reached its deadline (HTTP 504)."""


class LaggedError(CoveyError):
    """A reader fell behind its bounded queue and must start again from a snapshot."""


def first_cause(error: BaseException) -> BaseException:
    """The first reason of a group of errors that failed as one; any other error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
