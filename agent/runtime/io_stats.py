"""Network and block I/O of a container: interfaces of its network namespace, and its cgroup's counters (v1 and v2).

Invariant: the parsers are pure; what is missing or has gone meanwhile counts as nothing.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

_LOOPBACK = "lo"
_V1_FILES = (
    ("io_service_bytes_recursive", "io_service_bytes_recursive"),
    ("io_serviced_recursive", "io_serviced_recursive"),
)
_V1_SOURCES = ("blkio.bfq.", "blkio.throttle.", "blkio.")


class InterfaceStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of one network interface, as the container sees them."""

    rx_bytes: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_dropped: int = 0


class BlockIo(msgspec.Struct, frozen=True):
    """One counter of one block device: `op` is Read, Write, … as the kernel names it."""

    major: int
    minor: int
    op: str
    value: int


def read_interfaces(pid: int) -> dict[str, InterfaceStats]:
    """The interfaces of the process's network namespace, without the loopback."""
    try:
        return parse_net_dev(Path(f"/proc/{pid}/net/dev").read_text())
    except OSError:
        return {}


def parse_net_dev(text: str) -> dict[str, InterfaceStats]:
    """The interfaces of ``/proc/PID/net/dev``."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, values = line.partition(":")
        numbers = [int(value) for value in values.split()]
        if name.strip() != _LOOPBACK and len(numbers) >= 12:
            rx, tx = numbers[:4], numbers[8:12]
            found[name.strip()] = InterfaceStats(
                rx_bytes=rx[0],
                rx_packets=rx[1],
                rx_errors=rx[2],
                rx_dropped=rx[3],
                tx_bytes=tx[0],
                tx_packets=tx[1],
                tx_errors=tx[2],
                tx_dropped=tx[3],
            )
    return found


def read_block_io_v1(folder: Path) -> dict[str, tuple[BlockIo, ...]]:
    """Bytes and operations by device, from the first I/O controller that has counted any."""
    return {name: _first_counted(folder, file) for name, file in _V1_FILES}


def read_block_io_v2(folder: Path) -> dict[str, tuple[BlockIo, ...]]:
    try:
        return parse_io_stat((folder / "io.stat").read_text())
    except OSError:
        return parse_io_stat("")


def parse_io_stat(text: str) -> dict[str, tuple[BlockIo, ...]]:
    """The counters of ``io.stat``: ``8:0 rbytes=… wbytes=… rios=… wios=…``."""
    sizes: list[BlockIo] = []
    counts: list[BlockIo] = []
    for line in text.splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        values = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        if not (major.isdecimal() and minor.isdecimal()):
            continue
        for target, op, key in (
            (sizes, "read", "rbytes"),
            (sizes, "write", "wbytes"),
            (counts, "read", "rios"),
            (counts, "write", "wios"),
        ):
            if values.get(key, "").isdecimal():
                target.append(BlockIo(int(major), int(minor), op, int(values[key])))
    return {"io_service_bytes_recursive": tuple(sizes), "io_serviced_recursive": tuple(counts)}


def parse_blkio(text: str) -> tuple[BlockIo, ...]:
    """The counters of a ``blkio`` file of cgroup v1: ``8:0 Read 4096``. The last line is a total of all devices."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 3 and ":" in fields[0]:
            major, _, minor = fields[0].partition(":")
            found.append(BlockIo(int(major), int(minor), fields[1], int(fields[2])))
    return tuple(found)


def _first_counted(folder: Path, file: str) -> tuple[BlockIo, ...]:
    for source in _V1_SOURCES:
        try:
            found = parse_blkio((folder / f"{source}{file}").read_text())
        except OSError:
            continue
        if found:
            return found
    return ()
