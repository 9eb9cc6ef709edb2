"""The one table at the engine's edge: an error's meaning to its HTTP status, and a gRPC code to an error.

Law: nobody parses a message. Called by the dispatcher of requests and by ``engine.cluster``; never decides what to say.
"""

import asyncio

import grpc

from covey import errors

NOT_IMPLEMENTED = 501

HTTP_STATUS: dict[type[errors.CoveyError], int] = {
    errors.InvalidArgumentError: 400,
    errors.UnauthenticatedError: 401,
    errors.PermissionDeniedError: 403,
    errors.NotFoundError: 404,
    errors.AlreadyExistsError: 409,
    errors.ConflictError: 409,
    errors.StaleVersionError: 500,
    errors.TooLargeError: 400,
    errors.UnsupportedError: NOT_IMPLEMENTED,
    errors.UnavailableError: 503,
    errors.DeadlineError: 504,
    errors.LaggedError: 500,
}

_FROM_GRPC: dict[grpc.StatusCode, type[errors.CoveyError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidArgumentError,
    grpc.StatusCode.UNAUTHENTICATED: errors.UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDeniedError,
    grpc.StatusCode.NOT_FOUND: errors.NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExistsError,
    grpc.StatusCode.FAILED_PRECONDITION: errors.ConflictError,
    grpc.StatusCode.ABORTED: errors.StaleVersionError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.TooLargeError,
    grpc.StatusCode.UNIMPLEMENTED: errors.UnsupportedError,
    grpc.StatusCode.UNAVAILABLE: errors.UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineError,
    grpc.StatusCode.OUT_OF_RANGE: errors.LaggedError,
}


class NoChangeError(errors.CoveyError):
    """The object is in the wished state already (HTTP 304, no body)."""


def status_of(error: BaseException) -> int:
    """The HTTP status of an error; 500 for what nobody foresaw."""
    for kind in type(error).__mro__:
        if kind in HTTP_STATUS:
            return HTTP_STATUS[kind]
    if isinstance(error, NoChangeError):
        return 304
    if isinstance(error, asyncio.TimeoutError):
        return 504
    return 500


def from_grpc(code: grpc.StatusCode, details: str) -> errors.CoveyError:
    """The error that a failed call to the manager stands for."""
    kind = _FROM_GRPC.get(code, errors.CoveyError)
    if kind is errors.StaleVersionError and not details:
        details = "update out of sequence"
    return kind(details or f"the manager answered {code.name} without saying why")
