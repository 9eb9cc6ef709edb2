"""Options of the syslog log driver: address, facility, format and TLS files. Pure.

Called by ``covey.log_driver`` for their validation and by ``agent.logs`` for the sending of messages.
"""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from covey.errors import InvalidArgumentError

FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
)  # fmt: skip
_FACILITY_NUMBERS = {
    **{name: number for number, name in enumerate(FACILITIES)},
    **{f"local{number}": 16 + number for number in range(8)},
}
FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
_DAEMON = 3
_SCHEMES = frozenset({"unix", "unixgram", "tcp", "udp", "tcp+tls"})
_DEFAULT_PORT = 514


class SyslogAddress(NamedTuple):
    """Where messages go: `scheme` "" is the host's own syslog, unix and unixgram have a path, the others host and port."""

    scheme: str = ""
    path: str = ""
    host: str = ""
    port: int = 0


class SyslogOptions(NamedTuple):
    """The options, ready for use; TLS files are paths on this host, "" for none."""

    address: SyslogAddress
    facility: int
    format: str
    ca_cert: str = ""
    cert: str = ""
    key: str = ""
    skip_verify: bool = False


def read_syslog(options: Mapping[str, str]) -> SyslogOptions:
    """The options of a container's log. Raises InvalidArgumentError in Docker's words."""
    form = options.get("syslog-format", "")
    address = _address(options.get("syslog-address", ""))
    facility = _facility(options.get("syslog-facility", ""))
    if form not in FORMATS:
        raise InvalidArgumentError("Invalid syslog format")
    return SyslogOptions(
        address,
        facility,
        form,
        ca_cert=options.get("syslog-tls-ca-cert", ""),
        cert=options.get("syslog-tls-cert", ""),
        key=options.get("syslog-tls-key", ""),
        skip_verify="syslog-tls-skip-verify" in options,
    )


def _address(text: str) -> SyslogAddress:
    if not text:
        return SyslogAddress()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidArgumentError(f"syslog-address {text}: {error}") from None
    if parts.scheme not in _SCHEMES or "://" not in text:
        raise InvalidArgumentError(f"syslog-address should be in form proto://address, got {text}")
    if parts.scheme in {"unix", "unixgram"}:
        return SyslogAddress(parts.scheme, path=parts.path)
    if not parts.hostname:
        raise InvalidArgumentError(f"syslog-address should be in form proto://address, got {text}")
    return SyslogAddress(parts.scheme, host=parts.hostname, port=port or _DEFAULT_PORT)


def _facility(text: str) -> int:
    if not text:
        return _DAEMON
    if text in _FACILITY_NUMBERS:
        return _FACILITY_NUMBERS[text]
    if text.isascii() and text.isdecimal() and int(text) <= 23:
        return int(text)
    raise InvalidArgumentError("invalid syslog facility")
