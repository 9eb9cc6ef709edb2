"""Ulimits of processes: the names that Linux has, and what values they may have. Pure."""

from covey.errors import InvalidArgumentError

NAMES = frozenset(
    (
        "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
        "rttime", "sigpending", "stack",
    )
)  # fmt: skip


def check_ulimit(name: str, soft: int, hard: int) -> None:
    """Refuses an unknown name and values that no kernel takes; -1 means no limit. Raises InvalidArgumentError in Docker's words."""
    if name not in NAMES:
        raise InvalidArgumentError(f"invalid ulimit type: {name}")
    if min(soft, hard) < -1:
        raise InvalidArgumentError(f"invalid ulimit {name}: use -1 for no limit")
    if hard != -1 and (soft == -1 or soft > hard):
        raise InvalidArgumentError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
