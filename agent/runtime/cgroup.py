"""Cgroups of this host: layout (v1, hybrid, v2), available controllers, processes in a group, and cleanup.

Invariant: a limit whose controller is missing is refused by name. Invariant: groups are only read and removed here; the
OCI runtime creates them. Called by `agent.container`; `agent.runtime.stats` reads usage.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.runtime import mounts
from agent.runtime.limits import ResourceLimits
from covey.errors import UnsupportedError

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class CgroupLayout:
    """`hierarchies` maps each controller to the mount point of its hierarchy; on v2 they are all the same.

    `swap` says whether the kernel can limit swap. A hybrid host (v1 with an unused v2 hierarchy) has version 1.
    """

    version: int
    hierarchies: Mapping[str, Path]
    swap: bool

    @property
    def mount_points(self) -> list[Path]:
        return list(dict.fromkeys(self.hierarchies.values()))


def detect(points: Iterable[mounts.MountPoint] | None = None) -> CgroupLayout:
    """The layout in this mount namespace, or in the mount table that is passed in."""
    hierarchies: dict[str, Path] = {}
    unified: Path | None = None
    for point in mounts.list_mounts() if points is None else points:
        if not Path(point.target).is_relative_to(_ROOT):
            continue
        if point.fs_type == "cgroup":
            for name in point.options.split(","):
                if name not in {"rw", "ro"} and not name.startswith("release_agent"):
                    hierarchies[name.removeprefix("name=")] = Path(point.target)
        elif point.fs_type == "cgroup2":
            unified = Path(point.target)
    if hierarchies:
        memory = hierarchies.get("memory")
        if unified is not None:
            hierarchies["unified"] = unified
        return CgroupLayout(1, hierarchies, memory is not None and (memory / "memory.memsw.limit_in_bytes").exists())
    if unified is None:
        raise UnsupportedError(f"no cgroups are mounted at {_ROOT}: containers need them, mount cgroup2 there")
    controllers = (unified / "cgroup.controllers").read_text().split()
    return CgroupLayout(2, {**dict.fromkeys(controllers, unified), "freezer": unified, "devices": unified}, swap=True)


def missing_controllers(limits: ResourceLimits, layout: CgroupLayout) -> list[str]:
    """The controllers that the limits need and the host lacks. Pure."""
    needs = {
        "memory": limits.memory_bytes or limits.memory_reservation_bytes or limits.memory_swap_bytes,
        "cpu": limits.nano_cpus or limits.cpu_shares or limits.cpu_quota_us,
        "cpuset": limits.cpuset_cpus or limits.cpuset_mems,
        "pids": limits.pids_limit > 0,
    }
    return [name for name, needed in needs.items() if needed and name not in layout.hierarchies]


def require_controllers(limits: ResourceLimits, layout: CgroupLayout) -> None:
    """Raises UnsupportedError that names the missing controllers."""
    missing = missing_controllers(limits, layout)
    if missing:
        raise UnsupportedError(
            f"this host has no cgroup controller for {', '.join(missing)}: enable it in the kernel or drop the limit"
        )


def processes(layout: CgroupLayout, path: str) -> list[int]:
    """Pids in the group and in the groups below it, as numbered in this pid namespace."""
    found: set[int] = set()
    folder = _hierarchy(layout, "pids", "memory", "cpu") / path.lstrip("/")
    for current, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            found.update(int(pid) for pid in (Path(current) / "cgroup.procs").read_text().split())
    return sorted(found - {0})  # 0 stands for a process of another pid namespace


def remove(layout: CgroupLayout, path: str) -> None:
    """Remove the group and those below it from every hierarchy. Groups that still hold processes stay."""
    for mount_point in layout.mount_points:
        folder = mount_point / path.lstrip("/")
        for current, _, _ in os.walk(folder, topdown=False):
            with contextlib.suppress(OSError):
                Path(current).rmdir()


def kill_all(layout: CgroupLayout, path: str) -> None:
    """Thaw the group, then send SIGKILL to every process in it."""
    with contextlib.suppress(OSError):
        if layout.version == 2:
            (layout.mount_points[0] / path.lstrip("/") / "cgroup.freeze").write_text("0")
        else:
            (layout.hierarchies["freezer"] / path.lstrip("/") / "freezer.state").write_text("THAWED")
    for pid in processes(layout, path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def children(layout: CgroupLayout, path: str) -> set[str]:
    """Names of the groups directly below `path`, in any hierarchy."""
    names: set[str] = set()
    for mount_point in layout.mount_points:
        with contextlib.suppress(OSError):
            names.update(e.name for e in os.scandir(mount_point / path.lstrip("/")) if e.is_dir())
    return names


def _hierarchy(layout: CgroupLayout, *preferred: str) -> Path:
    """The mount point of the first controller that exists, or of any hierarchy."""
    for name in preferred:
        if name in layout.hierarchies:
            return layout.hierarchies[name]
    return layout.mount_points[0]
