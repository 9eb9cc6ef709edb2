"""The daemon's address and the TLS files of one invocation: from flags and environment, with docker's names and defaults. Pure.

Invariant: what docker reads from DOCKER_HOST, DOCKER_TLS, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH means the same here. COVEY_HOST
goes before DOCKER_HOST, and --host before both.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from covey.errors import InvalidArgumentError

DEFAULT_HOST = "unix:///run/covey/covey.sock"
PORT, TLS_PORT = 2375, 2376


class TlsFiles(NamedTuple):
    """Files in PEM. ``verify`` means that the daemon's certificate must be signed by ``ca`` and name its host.

    ``is_explicit`` says whether the client's certificate was named; the one of the default path may be missing.
    """

    ca: str
    cert: str
    key: str
    verify: bool
    is_explicit: bool


class DaemonAddress(NamedTuple):
    """``text`` is the address as it was given. ``path`` is that of a Unix socket, or empty; ``tls`` is None for plain TCP."""

    text: str
    path: str = ""
    host: str = ""
    port: int = 0
    tls: TlsFiles | None = None


def daemon_address(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> DaemonAddress:
    """The address that an invocation uses. ``flags`` are those of the root command.

    Raises:
        InvalidArgumentError: the address cannot be used, or has no TLS while a flag asks for it.
    """
    text = str(flags.get("host") or environment.get("COVEY_HOST") or environment.get("DOCKER_HOST") or DEFAULT_HOST)
    tls = _tls_files(flags, environment)
    address = parse_address(text, tls)
    if address.path and any(flags.get(name) for name in ("tls", "tlsverify")):
        raise InvalidArgumentError(f"--tls is for tcp://, and the daemon is at {text}: give the address with --host")
    return address


def parse_address(text: str, tls: TlsFiles | None = None) -> DaemonAddress:
    """An address: ``unix://PATH`` or ``tcp://HOST[:PORT]``, port 2376 with TLS and 2375 without.

    Raises:
        InvalidArgumentError: it is neither.
    """
    scheme, _, rest = text.partition("://")
    if scheme == "unix" and rest:
        return DaemonAddress(text, path=rest)
    if scheme != "tcp":
        raise InvalidArgumentError(f"{text!r} is not an address of a daemon: give unix://PATH or tcp://HOST:PORT")
    host, port = _host_and_port(rest.rstrip("/"), text, TLS_PORT if tls else PORT)
    return DaemonAddress(text, host=host, port=port, tls=tls)


def _host_and_port(rest: str, text: str, default_port: int) -> tuple[str, int]:
    malformed = InvalidArgumentError(f"{text!r} is not an address of a daemon: give tcp://HOST:PORT, IPv6 in brackets")
    if rest.startswith("["):
        host, bracket, port = rest[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise malformed
        port = port[1:]
    else:
        host, _, port = rest.partition(":")
    if any(sign in host for sign in "/@? ") or (":" in host) != rest.startswith("["):
        raise malformed
    if not port:
        return host or "localhost", default_port
    if not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 1 << 16:
        raise malformed
    return host or "localhost", int(port)


def _tls_files(flags: Mapping[str, Any], environment: Mapping[str, str]) -> TlsFiles | None:
    """The files, or None without TLS. A flag that is given as false wins over the environment."""
    verify = flags.get("tlsverify")
    if verify is None:
        verify = bool(environment.get("DOCKER_TLS_VERIFY"))
    if not (verify or flags.get("tls") or environment.get("DOCKER_TLS")):
        return None
    folder = environment.get("DOCKER_CERT_PATH") or environment.get("DOCKER_CONFIG")
    folder = folder or f"{environment.get('HOME') or '~'}/.docker"
    return TlsFiles(
        ca=flags.get("tlscacert") or f"{folder}/ca.pem",
        cert=flags.get("tlscert") or f"{folder}/cert.pem",
        key=flags.get("tlskey") or f"{folder}/key.pem",
        verify=bool(verify),
        is_explicit=bool(flags.get("tlscert") or flags.get("tlskey")),
    )
