"""The error of a Compose file: message, path of the key, and place in the file."""

import msgspec

from covey.errors import InvalidArgumentError


class Location(msgspec.Struct, frozen=True):
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class ComposeFileError(InvalidArgumentError):
    """A Compose file that cannot be used. The text is ``FILE:LINE:COLUMN: PATH: reason``; ``reason`` alone is docker's wording."""

    def __init__(self, reason: str, *, location: Location | None = None, path: str = "") -> None:
        self.reason = reason
        self.location = location
        self.path = path
        place = [str(location)] if location else []
        prefix = [path] if path and not reason.startswith(path) else []
        super().__init__(": ".join([*place, *prefix, reason]))
