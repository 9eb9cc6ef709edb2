"""Facts about the machine under the benchmark: hardware, CPU load, and memory used by the processes of a lab host."""

import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from node.lab import host as machine
from node.lab.layout import LabHost

MONITORS = ("conmon", "containerd-shim")
NOT_OURS = ("tini", "sleep", "runc", "iperf3")
"""Process 1 of a lab host, and programs that the benchmark runs there."""


def describe() -> str:
    """Cores, memory, kernel and load in one line."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return (
        f"{os.cpu_count()} cores, {pages >> 30} GiB, Linux {platform.release()}, load {load}, {busy_share():.0%} busy"
    )


def busy_share(seconds: float = 1.0) -> float:
    """Used share of all cores' time during the next ``seconds``."""
    before = _cpu_times()
    time.sleep(seconds)
    after = _cpu_times()
    spent = sum(after) - sum(before)
    idle = after[3] + after[4] - before[3] - before[4]
    return 1 - idle / max(spent, 1)


def _cpu_times() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


class Memory(msgspec.Struct, frozen=True):
    """Memory of an engine's own processes on a host, in MiB.

    ``pss`` divides shared pages among all processes that share them, also those of other lab hosts. ``alone`` counts a file's pages once for
    this host, as on a separate machine.
    """

    pss: float
    alone: float


def memory_of(host: LabHost, *, monitors: bool = False) -> Memory:
    """Memory of a host's processes, with container monitors or without. Containers have their own PID namespaces and are not counted."""
    namespace = Path(f"/proc/{machine.init_pid(host)}/ns/pid").readlink()
    pss = own = 0
    files: dict[str, int] = {}
    for folder in Path("/proc").iterdir():
        try:
            if not folder.name.isdigit() or (folder / "ns/pid").readlink() != namespace:
                continue
            if (folder / "comm").read_text().strip().startswith(NOT_OURS if monitors else (*MONITORS, *NOT_OURS)):
                continue
            mappings = _mappings((folder / "smaps").read_text())
        except OSError:  # the process has ended
            continue
        for name, sizes in mappings:
            pss += sizes["Pss"]
            own += sizes["Anonymous"] if name else sizes["Pss"]
            if name:
                files[name] = max(files.get(name, 0), sizes["Rss"] - sizes["Anonymous"])
    return Memory(pss / 1024, (own + sum(files.values())) / 1024)


def _mappings(smaps: str) -> Iterator[tuple[str, dict[str, int]]]:
    """Part of a file ("" if anonymous) and sizes in KiB of each mapping."""
    name, sizes = "", dict[str, int]()
    for line in smaps.splitlines():
        words = line.split()
        if not words[0].endswith(":"):  # a new mapping: range, permissions, offset, device, inode, optional path
            path = words[5] if len(words) > 5 and words[5].startswith("/") else ""
            name, sizes = f"{path} {words[2]} {words[1]}" if path else "", {}
        elif len(words) == 3 and words[2] == "kB":
            sizes[words[0].rstrip(":")] = int(words[1])
            if words[0] == "Anonymous:":
                yield name, sizes
