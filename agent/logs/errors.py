"""Errors of container logs."""

from covey.errors import CoveyError


class LogDriverError(CoveyError):
    """A container's log driver cannot be used on this host (Docker answers 500 to the start)."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"failed to initialize logging driver: {reason}")
