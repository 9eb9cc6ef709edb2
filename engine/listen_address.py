"""Addresses where the Engine API listens: unix://PATH, tcp://HOST:PORT and fd://NAME. Pure."""

import ipaddress
from pathlib import Path

import msgspec

from covey.errors import InvalidArgumentError

PLAIN_PORT = 2375
TLS_PORT = 2376


class UnixAddress(msgspec.Struct, frozen=True):
    path: Path


class TcpAddress(msgspec.Struct, frozen=True):
    """``host`` is an IP address or a name."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"


class InheritedSockets(msgspec.Struct, frozen=True):
    """Sockets that systemd passes to the daemon: those with this name or number, or all if it is empty."""

    name: str = ""


ListenAddress = UnixAddress | TcpAddress | InheritedSockets


def parse_listen_address(text: str, *, tls: bool) -> ListenAddress:
    """Parse a value of ``--host``. As in Docker, an omitted TCP host is localhost, and an omitted port 2376 with TLS, 2375 without.

    Raises:
        InvalidArgumentError: names the value.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = ("tcp", text) if not text.startswith("/") else ("", text)
    if scheme == "unix" and rest.startswith("/"):
        return UnixAddress(Path(rest))
    if scheme == "fd":
        return InheritedSockets("" if rest == "*" else rest)
    if scheme == "tcp":
        return _parse_tcp(text, rest, TLS_PORT if tls else PLAIN_PORT)
    raise InvalidArgumentError(
        f"invalid bind address (--host {text}): give unix:///PATH, tcp://HOST:PORT or fd:// for sockets of systemd"
    )


def _parse_tcp(text: str, rest: str, default_port: int) -> TcpAddress:
    if "/" in rest or "@" in rest:
        raise InvalidArgumentError(f"invalid bind address (--host {text}): should not contain a path or a user")
    host, port = rest, ""
    if rest.startswith("["):
        host, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
        _require_ipv6(text, host)
    elif ":" in rest:
        host, _, port = rest.rpartition(":")
        if ":" in host:
            raise InvalidArgumentError(f"invalid bind address (--host {text}): write an IPv6 address in brackets")
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise InvalidArgumentError(f"invalid bind address (--host {text}): invalid port {port!r}: give 1 to 65535")
    return TcpAddress(host or "localhost", int(port) if port else default_port)


def _require_ipv6(text: str, host: str) -> None:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise InvalidArgumentError(f"invalid bind address (--host {text}): {host!r} is not an IPv6 address") from None
