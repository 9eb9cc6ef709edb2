"""Parser of `WWW-Authenticate` headers: which scheme a registry demands, and its token server. Pure."""

import re
from collections.abc import Mapping, Sequence

import msgspec

HEADER_LIMIT = 8_192

_SCHEME = re.compile(r"\s*,?\s*([A-Za-z][\w.-]*)\s+(?=[A-Za-z_]+\s*=)")
_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z_][\w-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_BARE_SCHEME = re.compile(r"\s*([A-Za-z][\w.-]*)\s*$")


class Challenge(msgspec.Struct, frozen=True):
    """One challenge. `scheme` is in lower case."""

    scheme: str
    parameters: Mapping[str, str] = {}

    @property
    def realm(self) -> str:
        return self.parameters.get("realm", "")

    @property
    def service(self) -> str:
        return self.parameters.get("service", "")


def parse_challenges(headers: Sequence[str]) -> tuple[Challenge, ...]:
    """The challenges of all headers. What cannot be parsed is left out."""
    return tuple(challenge for header in headers for challenge in _parse(header[:HEADER_LIMIT]))


def choose(challenges: Sequence[Challenge]) -> Challenge | None:
    """The challenge to answer: a token is preferred to a password."""
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme and (scheme == "basic" or challenge.realm):
                return challenge
    return None


def _parse(header: str) -> list[Challenge]:
    bare = _BARE_SCHEME.match(header)
    if bare:
        return [Challenge(bare[1].lower())]
    found, position = [], 0
    while scheme := _SCHEME.match(header, position):
        position = scheme.end()
        parameters: dict[str, str] = {}
        while not _SCHEME.match(header, position) and (parameter := _PARAMETER.match(header, position)):
            value = parameter[3] if parameter[2] is None else re.sub(r"\\(.)", r"\1", parameter[2])
            parameters.setdefault(parameter[1].lower(), value)
            position = parameter.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return found
