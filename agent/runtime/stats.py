"""Resource usage of a container, read from the files of its cgroup (v1 and v2).

Invariant: a figure whose controller or file is missing is 0. Called by `docker stats` by way of `agent.container`.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from agent.runtime.cgroup import CgroupLayout
from agent.runtime.io_stats import BlockIo, InterfaceStats, read_block_io_v1, read_block_io_v2, read_interfaces

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_NO_LIMIT = 1 << 60
_SECOND_NS = 1_000_000_000


class ContainerStats(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of a container's cgroup. CPU times are nanoseconds, memory is bytes; a limit of 0 means none."""

    read_ns: int
    cpu_total_ns: int = 0
    cpu_user_ns: int = 0
    cpu_system_ns: int = 0
    cpu_each_ns: tuple[int, ...] = ()
    """CPU time on each of the host's CPUs; empty with cgroup v2, which does not count it."""
    periods: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0
    system_cpu_ns: int = 0
    online_cpus: int = 0
    memory_usage_bytes: int = 0
    memory_max_usage_bytes: int = 0
    memory_limit_bytes: int = 0
    memory_stats: dict[str, int] = msgspec.field(default_factory=dict)
    pids_current: int = 0
    pids_limit: int = 0
    networks: dict[str, InterfaceStats] = msgspec.field(default_factory=dict)
    block_io: dict[str, tuple[BlockIo, ...]] = msgspec.field(default_factory=dict)


def read_stats(layout: CgroupLayout, path: str, now_ns: int, network_pid: int = 0) -> ContainerStats:
    """One reading of the cgroup at `path`, and of the network namespace of the process `network_pid` (0: none)."""
    relative = path.lstrip("/")
    usage = _read_v2(layout, relative) if layout.version == 2 else _read_v1(layout, relative)
    return msgspec.structs.replace(
        usage,
        read_ns=now_ns,
        system_cpu_ns=_system_cpu_ns(),
        online_cpus=os.cpu_count() or 1,
        networks=read_interfaces(network_pid) if network_pid else {},
    )


def _read_v1(layout: CgroupLayout, relative: str) -> ContainerStats:
    def folder(controller: str) -> Path:
        return layout.hierarchies.get(controller, Path("/nonexistent")) / relative

    cpu, memory, pids = folder("cpuacct"), folder("memory"), folder("pids")
    ticks = _key_values(cpu / "cpuacct.stat")
    throttling = _key_values(folder("cpu") / "cpu.stat")
    return ContainerStats(
        read_ns=0,
        cpu_total_ns=_number(cpu / "cpuacct.usage"),
        cpu_user_ns=ticks.get("user", 0) * _SECOND_NS // _TICKS_PER_SECOND,
        cpu_system_ns=ticks.get("system", 0) * _SECOND_NS // _TICKS_PER_SECOND,
        cpu_each_ns=_numbers(cpu / "cpuacct.usage_percpu"),
        periods=throttling.get("nr_periods", 0),
        throttled_periods=throttling.get("nr_throttled", 0),
        throttled_ns=throttling.get("throttled_time", 0),
        memory_usage_bytes=_number(memory / "memory.usage_in_bytes"),
        memory_max_usage_bytes=_number(memory / "memory.max_usage_in_bytes"),
        memory_limit_bytes=_limit(memory / "memory.limit_in_bytes"),
        memory_stats=_key_values(memory / "memory.stat"),
        pids_current=_number(pids / "pids.current"),
        pids_limit=_limit(pids / "pids.max"),
        block_io=read_block_io_v1(folder("blkio")),
    )


def _read_v2(layout: CgroupLayout, relative: str) -> ContainerStats:
    folder = layout.mount_points[0] / relative
    cpu = _key_values(folder / "cpu.stat")
    return ContainerStats(
        read_ns=0,
        cpu_total_ns=cpu.get("usage_usec", 0) * 1000,
        cpu_user_ns=cpu.get("user_usec", 0) * 1000,
        cpu_system_ns=cpu.get("system_usec", 0) * 1000,
        periods=cpu.get("nr_periods", 0),
        throttled_periods=cpu.get("nr_throttled", 0),
        throttled_ns=cpu.get("throttled_usec", 0) * 1000,
        memory_usage_bytes=_number(folder / "memory.current"),
        memory_max_usage_bytes=_number(folder / "memory.peak"),
        memory_limit_bytes=_limit(folder / "memory.max"),
        memory_stats=_key_values(folder / "memory.stat"),
        pids_current=_number(folder / "pids.current"),
        pids_limit=_limit(folder / "pids.max"),
        block_io=read_block_io_v2(folder),
    )


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _numbers(path: Path) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in path.read_text().split())
    except (OSError, ValueError):
        return ()


def _limit(path: Path) -> int:
    value = _number(path)
    return 0 if value >= _NO_LIMIT else value


def _key_values(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    return {key: int(value) for key, _, value in (line.partition(" ") for line in lines) if value.isdigit()}


def _system_cpu_ns() -> int:
    """CPU time of the whole host, as `docker stats` needs it for percentages."""
    first = Path("/proc/stat").read_text().partition("\n")[0].split()
    return sum(int(ticks) for ticks in first[1:8]) * _SECOND_NS // _TICKS_PER_SECOND
