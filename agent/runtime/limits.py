"""Resource limits of a container and the OCI `resources` section that sets them.

Invariant: pure. Limits are translated, not judged; `agent.runtime.cgroup.require_controllers` refuses a limit whose
controller the host lacks. Called by `agent.runtime.oci_spec` and by updates of running containers.
"""

from __future__ import annotations

from typing import Any

import msgspec

_CPU_PERIOD_US = 100_000


class ResourceLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one container; 0 or "" means no limit."""

    memory_bytes: int = 0
    memory_reservation_bytes: int = 0
    memory_swap_bytes: int = 0
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_quota_us: int = 0
    cpu_period_us: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    oom_score_adj: int = 0


def oci_resources(limits: ResourceLimits, *, swap_limits: bool) -> dict[str, Any]:
    """The OCI `resources` section without device rules, as an update of a running container takes it.

    `swap_limits` says whether the kernel can limit swap. If it can, the default swap limit is twice the memory limit,
    as in Docker.
    """
    sections = {
        "memory": _memory(limits, swap_limits=swap_limits),
        "cpu": _cpu(limits),
        "pids": {"limit": limits.pids_limit} if limits.pids_limit > 0 else {},
    }
    return {name: section for name, section in sections.items() if section}


def _memory(limits: ResourceLimits, *, swap_limits: bool) -> dict[str, int]:
    memory: dict[str, int] = {}
    if limits.memory_bytes:
        memory["limit"] = limits.memory_bytes
        if swap_limits:
            memory["swap"] = limits.memory_swap_bytes or 2 * limits.memory_bytes
    if limits.memory_reservation_bytes:
        memory["reservation"] = limits.memory_reservation_bytes
    return memory


def _cpu(limits: ResourceLimits) -> dict[str, Any]:
    cpu: dict[str, Any] = {}
    if limits.nano_cpus:
        cpu |= {"period": _CPU_PERIOD_US, "quota": limits.nano_cpus * _CPU_PERIOD_US // 1_000_000_000}
    elif limits.cpu_quota_us:
        cpu |= {"period": limits.cpu_period_us or _CPU_PERIOD_US, "quota": limits.cpu_quota_us}
    for key, value in (("shares", limits.cpu_shares), ("cpus", limits.cpuset_cpus), ("mems", limits.cpuset_mems)):
        if value:
            cpu[key] = value
    return cpu
