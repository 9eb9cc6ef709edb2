"""Where ``cp`` puts what it copies: the rules of ``cp -a`` for names, directories and trailing slashes. Pure.

An archive of ``/a/b`` has entries named ``b/...``; an archive of ``/a/b/.`` has entries named ``./...``. A plan says into which directory
they are unpacked and which first part of their names is replaced.
"""

import posixpath
from typing import NamedTuple

from covey.errors import InvalidArgumentError

STREAM = "-"


class Endpoint(NamedTuple):
    """One side of a copy. ``container`` is empty for a path of this machine."""

    container: str
    path: str


class PathState(NamedTuple):
    """What is at a path."""

    exists: bool
    is_directory: bool = False


class CopyPlan(NamedTuple):
    """Unpack into ``directory``; the first part ``old_base`` of names becomes ``new_base``."""

    directory: str
    old_base: str
    new_base: str

    def renamed(self, name: str) -> str:
        """The name of an entry at its destination."""
        if self.old_base == self.new_base:
            return name
        if self.old_base == ".":
            rest = name.removeprefix("./") if name != "." else ""
            return posixpath.join(self.new_base, rest) if rest else self.new_base
        first, slash, rest = name.partition("/")
        return f"{self.new_base}{slash}{rest}" if first == self.old_base else name


def parse_endpoint(text: str) -> Endpoint:
    """One argument of ``cp``. A path of this machine that has a colon begins with ``/`` or ``.``."""
    container, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")):
        return Endpoint("", text)
    return Endpoint(container, path)


def check_endpoints(source: Endpoint, target: Endpoint) -> None:
    """Refuse what ``cp`` cannot do.

    Raises:
        InvalidArgumentError: both sides are containers, or none is.
    """
    if source.container and target.container:
        raise InvalidArgumentError("copying between containers is not supported")
    if not source.container and not target.container:
        raise InvalidArgumentError("must specify at least one container source")
    if not source.path or not target.path:
        raise InvalidArgumentError("the path of a container is missing: write CONTAINER:PATH")


def plan_copy(source: str, *, source_is_directory: bool, target: str, found: PathState) -> CopyPlan:
    """Where the entries of ``source`` go.

    Raises:
        InvalidArgumentError: a directory would replace a file, or the target names a directory that does not exist.
    """
    base = base_name(source)
    if found.exists and found.is_directory:
        return CopyPlan(target, base, base)
    if found.exists and source_is_directory:
        raise InvalidArgumentError(f"cannot copy directory {source} to the file {target}")
    names_directory = target.endswith("/") or posixpath.basename(target) == "."
    if found.exists and names_directory:
        raise InvalidArgumentError(f"{target} is not a directory")
    if not found.exists and names_directory and not source_is_directory:
        raise InvalidArgumentError(f"no such directory: {target}")
    bare = target.rstrip("/")
    directory, new_base = posixpath.split(bare)
    return CopyPlan(directory or ("/" if bare.startswith("/") else "."), base, new_base)


def base_name(path: str) -> str:
    """The first part of the names in an archive of a path: its last part, or ``.`` for a directory's content."""
    if posixpath.basename(path) == ".":
        return "."
    return posixpath.basename(path.rstrip("/")) or "."


def link_target(path: str, target: str) -> str:
    """The path that a symbolic link at ``path`` leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path.rstrip("/")), target))
