"""Which program of the host holds a port, for the error that names it. Reads /proc of the calling thread's namespace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

TIME_WAIT = "06"
_TABLES = {"tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6")}


def is_only_closing(protocol: str, port: int, proc: Path = Path("/proc")) -> bool:
    """True when nothing but connections that have ended (TIME_WAIT) keeps the port."""
    states = [state for state, _ in _sockets(protocol, port, proc)]
    return bool(states) and all(state == TIME_WAIT for state in states)


def find(protocol: str, port: int, proc: Path = Path("/proc")) -> str:
    """`NAME, process PID` of a program that listens on the port; empty if there is none to be seen."""
    wanted = {f"socket:[{inode}]" for _, inode in _sockets(protocol, port, proc) if inode != "0"}
    if not wanted:
        return ""
    for folder in proc.iterdir():
        if folder.name.isdigit() and _holds(folder, wanted):
            try:
                return f"{(folder / 'comm').read_text().strip()}, process {folder.name}"
            except OSError:
                continue
    return ""


def _sockets(protocol: str, port: int, proc: Path) -> Iterator[tuple[str, str]]:
    """State and inode of each socket with this local port."""
    for table in _TABLES.get(protocol, ()):
        try:
            lines = (proc / "thread-self" / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[3], fields[9]


def _holds(folder: Path, sockets: set[str]) -> bool:
    try:
        return any(_target(entry) in sockets for entry in (folder / "fd").iterdir())
    except OSError:  # a process that has ended
        return False


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""
