"""HTTP routing: finds the handler for a method and path, and parses the API version in the path (``/v1.47/…``). Pure.

A path without a version means the newest one. ``{name}`` matches one path segment, ``{name*}`` one or more. The first match wins. A name of
an object of the host may hold an escaped slash, so that it is looked up and not found. A trailing slash is the same path.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

from covey.errors import InvalidArgumentError

API_VERSION = (1, 50)
MIN_API_VERSION = (1, 24)

Handler = Callable[..., Awaitable[Any]]

_VERSIONED = re.compile(r"/v(\d+)\.(\d+)(/.*)", re.DOTALL)
_HOST_OBJECTS = ("/containers/", "/networks/", "/volumes/")
_PARAMETER = re.compile(r"\{(\w+)(\*?)\}")


class Route(NamedTuple):
    method: str
    pattern: str
    handler: Handler


class RouteMatch(NamedTuple):
    """The handler of a request and the parameters in its path."""

    handler: Handler
    parameters: Mapping[str, str]


class RouteTable:
    """All routes of the API."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = [(route, _compile(route.pattern)) for route in routes]

    def find(self, method: str, path: str) -> RouteMatch | None:
        """Find the route of a method and a path without version. None if there is none."""
        plain = path.rstrip("/") or path
        for route, regex in self._routes:
            found = regex.fullmatch(plain) if route.method == method else None
            if found is not None:
                return RouteMatch(route.handler, found.groupdict())
        return None

    def routes(self) -> list[tuple[str, str]]:
        """Every (method, pattern) in order."""
        return [(route.method, route.pattern) for route, _ in self._routes]


def split_version(path: str) -> tuple[tuple[int, int], str]:
    """Split a path into its API version and the rest.

    Raises:
        InvalidArgumentError: this daemon does not support the version. The message is Docker's.
    """
    found = _VERSIONED.fullmatch(path)
    if found is None:
        return API_VERSION, path
    version = (int(found[1]), int(found[2]))
    text = f"{version[0]}.{version[1]}"
    if version > API_VERSION:
        newest = format_version(API_VERSION)
        raise InvalidArgumentError(f"client version {text} is too new. Maximum supported API version is {newest}")
    if version < MIN_API_VERSION:
        oldest = format_version(MIN_API_VERSION)
        raise InvalidArgumentError(
            f"client version {text} is too old. Minimum supported API version is {oldest}, "
            "please upgrade your client to a newer version"
        )
    return version, found[3]


def format_version(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _compile(pattern: str) -> re.Pattern[str]:
    regex, position = "", 0
    for found in _PARAMETER.finditer(pattern):
        regex += re.escape(pattern[position : found.start()])
        several = found[2] or pattern.startswith(_HOST_OBJECTS)
        regex += f"(?P<{found[1]}>.+)" if several else f"(?P<{found[1]}>[^/]+)"
        position = found.end()
    return re.compile(regex + re.escape(pattern[position:]), re.DOTALL)
