"""HTTP status codes of errors, in one table.

Invariant: the status follows from the error's type, never from its message. Called by ``engine.app``.
"""

import asyncio

from covey import errors

NOT_IMPLEMENTED = 501

HTTP_STATUS: dict[type[errors.CoveyError], int] = {
    errors.InvalidArgumentError: 400,
    errors.UnauthenticatedError: 401,
    errors.PermissionDeniedError: 403,
    errors.NotFoundError: 404,
    errors.AlreadyExistsError: 409,
    errors.ConflictError: 409,
    errors.PreconditionError: 400,
    errors.PortInUseError: 500,
    errors.StaleVersionError: 500,
    errors.TooLargeError: 400,
    errors.UnsupportedError: NOT_IMPLEMENTED,
    errors.UnavailableError: 503,
    errors.DeadlineError: 504,
    errors.LaggedError: 500,
}


class NotModifiedError(errors.CoveyError):
    """The object is already in the requested state (HTTP 304, no body)."""


def http_status(error: BaseException) -> int:
    """The HTTP status of an error; 500 for unexpected ones."""
    for kind in type(error).__mro__:
        if kind in HTTP_STATUS:
            return HTTP_STATUS[kind]
    if isinstance(error, NotModifiedError):
        return 304
    if isinstance(error, asyncio.TimeoutError):
        return 504
    return 500
