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
from enum import StrEnum
from pathlib import Path

from agent.runtime import mounts
from agent.runtime.limits import ResourceLimits
from covey.errors import UnsupportedError

_ROOT = Path("/sys/fs/cgroup")


class Feature(StrEnum):
    """What a controller may or may not be able to do, depending on the kernel and the cgroup version."""

    SWAP = "swap"
    SWAPPINESS = "swappiness"
    OOM_KILL_DISABLE = "oom-kill-disable"
    REALTIME = "cpu-realtime"
    BLKIO_WEIGHT = "blkio-weight"
    BLKIO_THROTTLE = "blkio-throttle"


_V1_FILES = {
    Feature.SWAP: ("memory", ("memory.memsw.limit_in_bytes",)),
    Feature.SWAPPINESS: ("memory", ("memory.swappiness",)),
    Feature.OOM_KILL_DISABLE: ("memory", ("memory.oom_control",)),
    Feature.REALTIME: ("cpu", ("cpu.rt_runtime_us",)),
    Feature.BLKIO_WEIGHT: ("blkio", ("blkio.weight", "blkio.bfq.weight", "blkio.bfq.io_serviced")),
    Feature.BLKIO_THROTTLE: ("blkio", ("blkio.throttle.read_bps_device",)),
}
"""The controller of a feature on cgroup v1, and the files of its root of which one shows that the kernel has it."""
_V2_FEATURES = {
    "memory": frozenset({Feature.SWAP}),
    "io": frozenset({Feature.BLKIO_WEIGHT, Feature.BLKIO_THROTTLE}),
}


@dataclass(frozen=True, slots=True)
class CgroupLayout:
    """`hierarchies` maps each controller to the mount point of its hierarchy; on v2 they are all the same.

    A hybrid host (v1 with an unused v2 hierarchy) has version 1.
    """

    version: int
    hierarchies: Mapping[str, Path]
    features: frozenset[Feature]

    @property
    def swap(self) -> bool:
        """Whether the kernel can limit swap."""
        return Feature.SWAP in self.features

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
        if unified is not None:
            hierarchies["unified"] = unified
        return CgroupLayout(1, hierarchies, _features_v1(hierarchies))
    if unified is None:
        raise UnsupportedError(f"no cgroups are mounted at {_ROOT}: containers need them, mount cgroup2 there")
    controllers = (unified / "cgroup.controllers").read_text().split()
    features = frozenset().union(*(_V2_FEATURES.get(name, frozenset()) for name in controllers))
    return CgroupLayout(2, {**dict.fromkeys(controllers, unified), "freezer": unified, "devices": unified}, features)


def _features_v1(hierarchies: Mapping[str, Path]) -> frozenset[Feature]:
    return frozenset(
        feature
        for feature, (controller, files) in _V1_FILES.items()
        if controller in hierarchies and any((hierarchies[controller] / file).exists() for file in files)
    )


def unsupported_limits(limits: ResourceLimits, layout: CgroupLayout) -> list[str]:
    """One sentence for each limit that this host's cgroups cannot set. Pure."""
    needs = {
        "memory": limits.memory_bytes or limits.memory_reservation_bytes or limits.memory_swap_bytes,
        "cpu": limits.nano_cpus or limits.cpu_shares or limits.cpu_quota_us or limits.cpu_period_us,
        "cpuset": limits.cpuset_cpus or limits.cpuset_mems,
        "pids": limits.pids_limit > 0,
    }
    missing = [name for name, needed in needs.items() if needed and name not in layout.hierarchies]
    sentences = [f"this host has no cgroup controller for {', '.join(missing)}"] if missing else []
    features = {
        "MemorySwap": (Feature.SWAP, limits.memory_swap_bytes > 0),
        "MemorySwappiness": (Feature.SWAPPINESS, limits.memory_swappiness is not None),
        "OomKillDisable": (Feature.OOM_KILL_DISABLE, limits.oom_kill_disable),
        "CpuRealtimePeriod": (Feature.REALTIME, limits.cpu_realtime_period_us),
        "CpuRealtimeRuntime": (Feature.REALTIME, limits.cpu_realtime_runtime_us),
        "BlkioWeight": (Feature.BLKIO_WEIGHT, limits.blkio_weight),
        "BlkioWeightDevice": (Feature.BLKIO_WEIGHT, limits.blkio_weight_devices),
        "BlkioDeviceReadBps": (Feature.BLKIO_THROTTLE, limits.blkio_read_bps),
        "BlkioDeviceWriteBps": (Feature.BLKIO_THROTTLE, limits.blkio_write_bps),
        "BlkioDeviceReadIOps": (Feature.BLKIO_THROTTLE, limits.blkio_read_iops),
        "BlkioDeviceWriteIOps": (Feature.BLKIO_THROTTLE, limits.blkio_write_iops),
    }
    return sentences + [
        f"{name} is not supported by this host's kernel and cgroup v{layout.version}"
        for name, (feature, needed) in features.items()
        if needed and feature not in layout.features
    ]


def require_controllers(limits: ResourceLimits, layout: CgroupLayout) -> None:
    """Raises UnsupportedError that names the limits."""
    sentences = unsupported_limits(limits, layout)
    if sentences:
        raise UnsupportedError(f"{'; '.join(sentences)}: enable it in the kernel or drop the limit")


def processes(layout: CgroupLayout, path: str) -> list[int]:
    """Pids in the group and in the groups below it, as numbered in this pid namespace."""
    found: set[int] = set()
    folder = _hierarchy(layout, "pids", "memory", "cpu") / path.lstrip("/")
    for current, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            found.update(int(pid) for pid in (Path(current) / "cgroup.procs").read_text().split())
    return sorted(found - {0})  # 0 stands for a process of another pid namespace


def remove(layout: CgroupLayout, path: str) -> bool:
    """Remove the group and those below it from every hierarchy. Groups that still hold processes stay: then False."""
    folders = [mount_point / path.lstrip("/") for mount_point in layout.mount_points]
    for folder in folders:
        for current, _, _ in os.walk(folder, topdown=False):
            with contextlib.suppress(OSError):
                Path(current).rmdir()
    return not any(folder.exists() for folder in folders)


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
