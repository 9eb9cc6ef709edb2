"""Ports as Docker's users write them: ``80/tcp``, ``8080``, ``8000-8010``. Pure."""

import re

from covey.errors import InvalidArgumentError

PROTOCOLS = ("tcp", "udp", "sctp")
MAX_PORT = 65535
_CONTAINER_PORT = re.compile(r"([0-9]{1,5})(?:/([A-Za-z]+))?")
_HOST_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def container_port(text: str) -> str:
    """``80/tcp`` from ``80``, ``80/tcp`` or ``80/TCP``. Raises InvalidArgumentError in Docker's words."""
    match = _CONTAINER_PORT.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= MAX_PORT:
        raise InvalidArgumentError(f'invalid port specification: "{text.partition("/")[0]}"')
    protocol = (match[2] or "tcp").lower()
    if protocol not in PROTOCOLS:
        raise InvalidArgumentError(f'invalid port specification: "{text}": use the protocol {", ".join(PROTOCOLS)}')
    return f"{int(match[1])}/{protocol}"


def port_range(text: str) -> tuple[int, int]:
    """First and last of a host port or a range; (0, 0) for any port. Raises InvalidArgumentError in Docker's words."""
    if text in {"", "0"}:
        return 0, 0
    match = _HOST_PORT.fullmatch(text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last <= MAX_PORT:
        raise InvalidArgumentError(f'invalid port specification: "{text}"')
    return first, last
