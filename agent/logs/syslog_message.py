"""Syslog messages of log entries: RFC 3164, RFC 5424 and the form of the local socket, as Docker's driver writes them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from agent.logs.entry import LogEntry

_ERROR, _INFORMATION = 3, 6
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class SyslogFormat(NamedTuple):
    """What the messages of one container have in common. `name` is that of the option `syslog-format`."""

    name: str
    facility: int
    hostname: str
    tag: str
    pid: int
    counted: bool = False
    """Whether the length stands before each message, as RFC 5425 asks of RFC 5424 over TLS."""


def encode(entry: LogEntry, form: SyslogFormat) -> bytes:
    """One message with its newline. The time is that of the entry."""
    priority = form.facility * 8 + (_ERROR if entry.stream == "stderr" else _INFORMATION)
    text = entry.data.removesuffix(b"\n")
    head = f"<{priority}>{_head(form, entry.time_ns)}".encode()
    message = head + text + b"\n"
    return str(len(message)).encode() + b" " + message if form.counted else message


def _head(form: SyslogFormat, time_ns: int) -> str:
    second, rest = divmod(time_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(second, UTC)
    if form.name in {"rfc5424", "rfc5424micro"}:
        fraction = f".{rest // 1000:06d}" if form.name == "rfc5424micro" else ""
        stamp = f"{moment.strftime('%Y-%m-%dT%H:%M:%S')}{fraction}Z"
        return f"1 {stamp} {form.hostname} {form.tag} {form.pid} {form.tag} - "
    stamp = f"{_MONTHS[moment.month - 1]} {moment.day:2d} {moment.strftime('%H:%M:%S')}"
    host = f"{form.hostname} " if form.name == "rfc3164" else ""
    return f"{stamp} {host}{form.tag}[{form.pid}]: "
