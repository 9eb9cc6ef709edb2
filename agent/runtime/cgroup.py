"""The control groups of this host: which layout, which controllers, what a container used, and removing what is left.

Law: a limit whose controller is missing is refused by name. Reads and removes only; the OCI runtime makes the
groups. Works on v1,
hybrid (v1 with an unused v2 tree) and v2.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.container.model import ContainerStats, ResourceLimits
from agent.runtime import mounts
from covey.errors import UnsupportedError

_ROOT = Path("/sys/fs/cgroup")
_TICKS = os.sysconf("SC_CLK_TCK")
_NO_LIMIT = 1 << 60


@dataclass(frozen=True, slots=True)
class CgroupLayout:
    """`trees` maps each controller to the folder its hierarchy is mounted at; on v2 all map to one."""

    version: int
    hierarchies: Mapping[str, Path]
    swap: bool

    @property
    def mount_points(self) -> list[Path]:
        return list(dict.fromkeys(self.hierarchies.values()))


def detect(points: Iterable[mounts.MountPoint] | None = None) -> CgroupLayout:
    """What is mounted on this host (in this mount namespace)."""
    trees: dict[str, Path] = {}
    unified: Path | None = None
    for point in mounts.list_mounts() if points is None else points:
        if not Path(point.target).is_relative_to(_ROOT):
            continue
        if point.fs_type == "cgroup":
            for name in point.options.split(","):
                if name not in {"rw", "ro"} and not name.startswith("release_agent"):
                    trees[name.removeprefix("name=")] = Path(point.target)
        elif point.fs_type == "cgroup2":
            unified = Path(point.target)
    if trees:
        memory = trees.get("memory")
        if unified is not None:
            trees["unified"] = unified
        return CgroupLayout(1, trees, memory is not None and (memory / "memory.memsw.limit_in_bytes").exists())
    if unified is None:
        raise UnsupportedError(f"no cgroups are mounted at {_ROOT}: containers need them, mount cgroup2 there")
    controllers = (unified / "cgroup.controllers").read_text().split()
    return CgroupLayout(2, {**dict.fromkeys(controllers, unified), "freezer": unified, "devices": unified}, swap=True)


def missing_controllers(resources: ResourceLimits, host: CgroupLayout) -> list[str]:
    """The controllers that the limits need and the host lacks; pure."""
    needs = {
        "memory": resources.memory_bytes or resources.memory_reservation_bytes or resources.memory_swap_bytes,
        "cpu": resources.nano_cpus or resources.cpu_shares or resources.cpu_quota_us,
        "cpuset": resources.cpuset_cpus or resources.cpuset_mems,
        "pids": resources.pids_limit > 0,
    }
    return [name for name, needed in needs.items() if needed and name not in host.hierarchies]


def require_controllers(resources: ResourceLimits, host: CgroupLayout) -> None:
    missing = missing_controllers(resources, host)
    if missing:
        raise UnsupportedError(
            f"this host has no cgroup controller for {', '.join(missing)}: enable it in the kernel or drop the limit"
        )


def processes(host: CgroupLayout, path: str) -> list[int]:
    """The processes of the group, as this namespace numbers them; processes of its children included."""
    tree = _hierarchy(host, "pids", "memory", "cpu")
    found: set[int] = set()
    folder = tree / path.lstrip("/")
    for current, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            found.update(int(pid) for pid in (Path(current) / "cgroup.procs").read_text().split())
    return sorted(found - {0})


def read_stats(host: CgroupLayout, path: str, now_ns: int) -> ContainerStats:
    """One reading; figures of a controller that is missing are 0."""
    inner = path.lstrip("/")
    values = _read_v2(host, inner) if host.version == 2 else _read_v1(host, inner)
    online = os.cpu_count() or 1
    return ContainerStats(read_ns=now_ns, system_cpu_ns=_system_cpu_ns(), online_cpus=online, **values)  # type: ignore[arg-type]


def remove(host: CgroupLayout, path: str) -> None:
    """Remove the group and those below it in every hierarchy; groups with living processes stay."""
    for root in host.mount_points:
        folder = root / path.lstrip("/")
        for current, _, _ in os.walk(folder, topdown=False):
            with contextlib.suppress(OSError):
                Path(current).rmdir()


def kill_all(host: CgroupLayout, path: str) -> None:
    """SIGKILL every process of the group, thawing it first."""
    with contextlib.suppress(OSError):
        if host.version == 2:
            (_hierarchy(host) / path.lstrip("/") / "cgroup.freeze").write_text("0")
        else:
            (host.hierarchies["freezer"] / path.lstrip("/") / "freezer.state").write_text("THAWED")
    for pid in processes(host, path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def children(host: CgroupLayout, path: str) -> set[str]:
    """Names of the groups right below `path`, in any hierarchy."""
    names: set[str] = set()
    for root in host.mount_points:
        with contextlib.suppress(OSError):
            names.update(e.name for e in os.scandir(root / path.lstrip("/")) if e.is_dir())
    return names


def _hierarchy(host: CgroupLayout, *wanted: str) -> Path:
    for name in wanted:
        if name in host.hierarchies:
            return host.hierarchies[name]
    return host.mount_points[0]


def _read_v1(host: CgroupLayout, inner: str) -> dict[str, object]:
    def folder(controller: str) -> Path:
        return host.hierarchies.get(controller, Path("/nonexistent")) / inner

    cpu, memory, pids = folder("cpuacct"), folder("memory"), folder("pids")
    usage = _pairs(cpu / "cpuacct.stat")
    throttle = _pairs(folder("cpu") / "cpu.stat")
    return {
        "cpu_total_ns": _number(cpu / "cpuacct.usage"),
        "cpu_user_ns": usage.get("user", 0) * 1_000_000_000 // _TICKS,
        "cpu_system_ns": usage.get("system", 0) * 1_000_000_000 // _TICKS,
        "throttled_periods": throttle.get("nr_throttled", 0),
        "throttled_ns": throttle.get("throttled_time", 0),
        "memory_usage_bytes": _number(memory / "memory.usage_in_bytes"),
        "memory_max_usage_bytes": _number(memory / "memory.max_usage_in_bytes"),
        "memory_limit_bytes": _limit(memory / "memory.limit_in_bytes"),
        "memory_stats": _pairs(memory / "memory.stat"),
        "pids_current": _number(pids / "pids.current"),
        "pids_limit": _limit(pids / "pids.max"),
    }


def _read_v2(host: CgroupLayout, inner: str) -> dict[str, object]:
    folder = host.mount_points[0] / inner
    cpu = _pairs(folder / "cpu.stat")
    return {
        "cpu_total_ns": cpu.get("usage_usec", 0) * 1000,
        "cpu_user_ns": cpu.get("user_usec", 0) * 1000,
        "cpu_system_ns": cpu.get("system_usec", 0) * 1000,
        "throttled_periods": cpu.get("nr_throttled", 0),
        "throttled_ns": cpu.get("throttled_usec", 0) * 1000,
        "memory_usage_bytes": _number(folder / "memory.current"),
        "memory_max_usage_bytes": _number(folder / "memory.peak"),
        "memory_limit_bytes": _limit(folder / "memory.max"),
        "memory_stats": _pairs(folder / "memory.stat"),
        "pids_current": _number(folder / "pids.current"),
        "pids_limit": _limit(folder / "pids.max"),
    }


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _limit(path: Path) -> int:
    value = _number(path)
    return 0 if value >= _NO_LIMIT else value


def _pairs(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    return {key: int(value) for key, _, value in (line.partition(" ") for line in lines) if value.isdigit()}


def _system_cpu_ns() -> int:
    first = Path("/proc/stat").read_text().partition("\n")[0].split()
    return sum(int(n) for n in first[1:8]) * 1_000_000_000 // _TICKS
