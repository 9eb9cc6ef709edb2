"""Errors of a start: what the container's state keeps of them, and what the caller gets.

Invariant: a path or value of the user that the kernel refuses is an invalid argument; a host that is out of space or
files is unavailable. Called by `agent.container.lifecycle`.
"""

from __future__ import annotations

import asyncio
import errno

from agent.runtime.errors import OciRuntimeError
from covey.errors import CoveyError, InvalidArgumentError, UnavailableError

_EXIT_CODES_OF_COMMANDS = frozenset({126, 127})
_FAILED = "failed to create task for container: "
_OF_THE_USER = frozenset(
    (
        errno.EACCES, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENODEV, errno.ENOENT, errno.ENOTDIR,
        errno.ENXIO, errno.EPERM, errno.EROFS,
    )
)  # fmt: skip


def recorded(error: BaseException) -> tuple[int, str]:
    """Exit code and message of a container that could not start."""
    code = error.exit_code if isinstance(error, OciRuntimeError) else 128
    if isinstance(error, asyncio.CancelledError):
        return code, "the start was cancelled"
    shown = raised(error)
    return code, shown.message if isinstance(shown, CoveyError) else f"{type(error).__name__}: {error}"


def raised(error: BaseException) -> BaseException:
    """The error for the caller of the start. Clients tell exit codes 126 and 127 from the message of a bad request."""
    if isinstance(error, OciRuntimeError):
        message = error.message if error.message.startswith(_FAILED) else f"{_FAILED}{error.message}"
        return InvalidArgumentError(message) if error.exit_code in _EXIT_CODES_OF_COMMANDS else OciRuntimeError(message)
    if isinstance(error, OSError) and error.errno is not None:
        path = f" {error.filename}" if error.filename else ""
        message = f"{_FAILED}{(error.strerror or str(error)).lower()}:{path}" if path else f"{_FAILED}{error.strerror}"
        return InvalidArgumentError(message) if error.errno in _OF_THE_USER else UnavailableError(message)
    return error
