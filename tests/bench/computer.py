"""The computer under the benchmark: what it is, how busy it is, and what the processes of a lab host hold of its memory."""

import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from node.lab import host as machine
from node.lab.layout import Host

MONITORS = ("conmon", "containerd-shim")
NOT_OURS = ("tini", "sleep", "runc", "iperf3")
"""Process 1 of a lab host, and what a benchmark runs there itself."""


def describe() -> str:
    """Cores, kernel, memory and load, in a line."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return (
        f"{os.cpu_count()} cores, {pages >> 30} GiB, Linux {platform.release()}, load {load}, {busy_share():.0%} busy"
    )


def busy_share(seconds: float = 1.0) -> float:
    """The part of all cores' time that is used, over the next ``seconds``."""
    before = _cpu_times()
    time.sleep(seconds)
    after = _cpu_times()
    spent = sum(after) - sum(before)
    idle = after[3] + after[4] - before[3] - before[4]
    return 1 - idle / max(spent, 1)


def _cpu_times() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


def pss_mib(host: Host) -> tuple[float, float]:
    """Proportional memory of a host's own processes and, apart, of the containers' monitors, in MiB.

    Containers are in PID namespaces of their own and so not counted.
    """
    init = machine.init_pid(host)
    namespace = Path(f"/proc/{init}/ns/pid").readlink()
    own = monitors = 0
    for name, size in _processes(namespace):
        if name.startswith(MONITORS):
            monitors += size
        elif name not in NOT_OURS:
            own += size
    return own / 1024, monitors / 1024


def _processes(namespace: Path) -> Iterator[tuple[str, int]]:
    """Name and PSS in KiB of each process of a PID namespace."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if (folder / "ns/pid").readlink() != namespace:
                continue
            name = (folder / "comm").read_text().strip()
            rollup = (folder / "smaps_rollup").read_text()
        except OSError:  # it has ended meanwhile
            continue
        for line in rollup.splitlines():
            if line.startswith("Pss:"):
                yield name, int(line.split()[1])
