"""Sysctls of the calling thread's namespace."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_ROOT = Path("/proc/sys")


def read_sysctls(paths: Iterable[str]) -> dict[str, str]:
    """The values of those that exist, with single blanks."""
    found: dict[str, str] = {}
    for path in paths:
        try:
            found[path] = " ".join((_ROOT / path).read_text().split())
        except OSError:
            continue
    return found


def write_sysctl(path: str, value: str) -> None:
    """Raises OSError when the kernel does not have it or refuses the value."""
    (_ROOT / path).write_text(value)


def device_of_sysctl(path: str) -> str:
    """The device in `net/ipv4/conf/eth0/forwarding` and the like, or empty."""
    parts = path.split("/")
    if len(parts) == 5 and parts[2] in {"conf", "neigh"} and parts[3] not in {"all", "default"}:
        return parts[3]
    return ""
