"""The exit codes of a container that did not run, as a shell has them: 125, 126 and 127."""

from collections.abc import Iterator
from contextlib import contextmanager

from cli.client import DaemonError
from covey.errors import CoveyError

DAEMON_FAILED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127
_MISSING = ("executable file not found", "no such file or directory", "system cannot find the file specified")
_FORBIDDEN = ("permission denied", "is a directory")


class StartError(DaemonError):
    """The daemon could not start the container's command."""

    def __init__(self, error: DaemonError) -> None:
        super().__init__(error.status, error.message)
        self.exit_code = start_code(error.message)


def start_code(message: str) -> int:
    """The exit code for a message of the daemon."""
    if any(text in message for text in _MISSING):
        return NOT_FOUND
    if any(text in message for text in _FORBIDDEN):
        return NOT_EXECUTABLE
    return DAEMON_FAILED


class RunError(CoveyError):
    """An error that ends the command with ``exit_code``."""

    def __init__(self, error: CoveyError, exit_code: int) -> None:
        super().__init__(error.message)
        self.error = error
        self.exit_code = exit_code


@contextmanager
def refused() -> Iterator[None]:
    """Errors end the command with the code of a failed ``run``.

    Raises:
        RunError: always, for an error.
    """
    try:
        yield
    except CoveyError as error:
        raise RunError(error, error.exit_code if isinstance(error, StartError) else DAEMON_FAILED) from error
