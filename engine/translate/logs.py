"""Log requests: the options of a query, and lines as clients read them (``[time ][details ]text``)."""

from collections.abc import Mapping
from urllib.parse import quote_plus

import msgspec

from covey.errors import InvalidArgumentError
from engine.translate.times import log_time, parse_moment

_OFF = frozenset({"", "0", "no", "false", "none"})


class LogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a log request. ``tail`` None means all lines; a time of 0 means no limit."""

    stdout: bool
    stderr: bool
    follow: bool
    timestamps: bool
    details: bool
    tail: int | None
    since_ns: int
    until_ns: int


def read_log_query(query: Mapping[str, str], now_ns: int) -> LogQuery:
    """The options of a query. Raises InvalidArgumentError."""

    def flag(name: str) -> bool:
        return query.get(name, "").strip().lower() not in _OFF

    if not flag("stdout") and not flag("stderr"):
        raise InvalidArgumentError("Bad parameters: you must choose at least one stream")
    tail = query.get("tail", "all")
    return LogQuery(
        stdout=flag("stdout"),
        stderr=flag("stderr"),
        follow=flag("follow"),
        timestamps=flag("timestamps"),
        details=flag("details"),
        tail=int(tail) if tail.isdecimal() else None,
        since_ns=parse_moment(query.get("since", ""), now_ns),
        until_ns=parse_moment(query.get("until", ""), now_ns),
    )


def task_details(node_id: str, service_id: str, task_id: str) -> str:
    """The origin of a line of a service's log, in the form that the docker CLI parses."""
    pairs = {
        "com.docker.swarm.node.id": node_id,
        "com.docker.swarm.service.id": service_id,
        "com.docker.swarm.task.id": task_id,
    }
    return ",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in pairs.items())


def log_line(data: bytes, time_ns: int | None, details: str = "") -> bytes:
    """A line of output with the requested prefixes. A last line without a newline stays without one."""
    head = (f"{log_time(time_ns)} " if time_ns is not None else "") + (f"{details} " if details else "")
    return head.encode() + data
