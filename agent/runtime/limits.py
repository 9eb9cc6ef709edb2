"""Resource limits of a container and the OCI `resources` section that sets them.

Invariant: pure. Limits are translated, not judged; `agent.runtime.cgroup.require_controllers` refuses a limit whose
controller the host lacks. Called by `agent.runtime.oci_spec` and by updates of running containers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_CPU_PERIOD_US = 100_000


class DeviceWeight(msgspec.Struct, frozen=True, kw_only=True):
    """Relative weight of a block device's I/O, 10 to 1000."""

    path: str
    weight: int


class DeviceRate(msgspec.Struct, frozen=True, kw_only=True):
    """Limit of a block device, in bytes or operations per second."""

    path: str
    rate: int


class ResourceLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one container; 0, "" or None means no limit."""

    memory_bytes: int = 0
    memory_reservation_bytes: int = 0
    memory_swap_bytes: int = 0
    """Limit of memory and swap together; -1 for unlimited swap."""
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_quota_us: int = 0
    cpu_period_us: int = 0
    cpu_realtime_period_us: int = 0
    cpu_realtime_runtime_us: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    """-1 removes the limit of a running container."""
    oom_score_adj: int = 0
    blkio_weight: int = 0
    blkio_weight_devices: tuple[DeviceWeight, ...] = ()
    blkio_read_bps: tuple[DeviceRate, ...] = ()
    blkio_write_bps: tuple[DeviceRate, ...] = ()
    blkio_read_iops: tuple[DeviceRate, ...] = ()
    blkio_write_iops: tuple[DeviceRate, ...] = ()

    @property
    def block_devices(self) -> tuple[str, ...]:
        """The paths of all block devices that a limit names."""
        rates = (*self.blkio_read_bps, *self.blkio_write_bps, *self.blkio_read_iops, *self.blkio_write_iops)
        return tuple(
            dict.fromkeys([*(item.path for item in self.blkio_weight_devices), *(item.path for item in rates)])
        )


def oci_resources(
    limits: ResourceLimits, *, swap_limits: bool, devices: Mapping[str, tuple[int, int]] = {}
) -> dict[str, Any]:
    """The OCI `resources` section without device rules, as an update of a running container takes it.

    `swap_limits` says whether the kernel can limit swap. If it can, the default swap limit is twice the memory limit,
    as in Docker. `devices` has the numbers of `limits.block_devices`.
    """
    sections = {
        "memory": _memory(limits, swap_limits=swap_limits),
        "cpu": _cpu(limits),
        "pids": {"limit": max(limits.pids_limit, -1)} if limits.pids_limit else {},
        "blockIO": _block_io(limits, devices),
    }
    return {name: section for name, section in sections.items() if section}


def effective_swap_bytes(limits: ResourceLimits) -> int:
    """The limit of memory and swap together: Docker's default is twice the memory limit."""
    return limits.memory_swap_bytes or min(2 * max(limits.memory_bytes, 0), (1 << 63) - 1)


def _memory(limits: ResourceLimits, *, swap_limits: bool) -> dict[str, Any]:
    memory: dict[str, Any] = {}
    if limits.memory_bytes:
        memory["limit"] = limits.memory_bytes
        if swap_limits:
            memory["swap"] = effective_swap_bytes(limits)
    if limits.memory_reservation_bytes:
        memory["reservation"] = limits.memory_reservation_bytes
    if limits.memory_swappiness is not None:
        memory["swappiness"] = limits.memory_swappiness
    if limits.oom_kill_disable:
        memory["disableOOMKiller"] = True
    return memory


def _cpu(limits: ResourceLimits) -> dict[str, Any]:
    cpu: dict[str, Any] = {}
    if limits.nano_cpus:
        cpu |= {"period": _CPU_PERIOD_US, "quota": limits.nano_cpus * _CPU_PERIOD_US // 1_000_000_000}
    values = (
        ("quota", limits.cpu_quota_us),
        ("period", limits.cpu_period_us),
        ("shares", limits.cpu_shares),
        ("realtimePeriod", limits.cpu_realtime_period_us),
        ("realtimeRuntime", limits.cpu_realtime_runtime_us),
        ("cpus", limits.cpuset_cpus),
        ("mems", limits.cpuset_mems),
    )
    return cpu | {key: value for key, value in values if value}


def _block_io(limits: ResourceLimits, devices: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    section: dict[str, Any] = {}
    if limits.blkio_weight:
        section["weight"] = limits.blkio_weight
    if limits.blkio_weight_devices:
        section["weightDevice"] = [
            {**_numbers(item.path, devices), "weight": item.weight} for item in limits.blkio_weight_devices
        ]
    throttles: tuple[tuple[str, Sequence[DeviceRate]], ...] = (
        ("throttleReadBpsDevice", limits.blkio_read_bps),
        ("throttleWriteBpsDevice", limits.blkio_write_bps),
        ("throttleReadIOPSDevice", limits.blkio_read_iops),
        ("throttleWriteIOPSDevice", limits.blkio_write_iops),
    )
    for key, rates in throttles:
        if rates:
            section[key] = [{**_numbers(item.path, devices), "rate": item.rate} for item in rates]
    return section


def _numbers(path: str, devices: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    major, minor = devices[path]
    return {"major": major, "minor": minor}
