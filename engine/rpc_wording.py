"""Errors of changes to the cluster in the form in which Docker's daemon passes on those of its manager. Pure.

Docker's clients and programs match ``rpc error: code = AlreadyExists desc = …``. Only what the manager refuses has that form: an object
that the request names and that does not exist was looked up before, and an unreachable manager has words of its own.
"""

from covey import errors

_CODES: dict[type[errors.CoveyError], str] = {
    errors.InvalidArgumentError: "InvalidArgument",
    errors.TooLargeError: "InvalidArgument",
    errors.AlreadyExistsError: "AlreadyExists",
    errors.PreconditionError: "FailedPrecondition",
    errors.ConflictError: "FailedPrecondition",
    errors.UnsupportedError: "Unimplemented",
    errors.StaleVersionError: "Unknown",
}


def in_rpc_words(method: str, error: errors.CoveyError) -> errors.CoveyError:
    """The same error with Docker's prefix, if its class is one that Docker's manager raises. ``method`` is the one that was called."""
    if method == "CreateNetwork" and isinstance(error, errors.AlreadyExistsError | errors.PermissionDeniedError):
        return error  # Docker's daemon looks for the name itself
    code = next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), None)
    return error if code is None else type(error)(f"rpc error: code = {code} desc = {error.message}")
