"""Resource limits in `HostConfig` and in `POST /containers/{id}/update`: their JSON, and Docker's checks of their values."""

import re
from typing import Any

import msgspec

from agent.runtime.limits import DeviceRate, DeviceWeight, ResourceLimits
from covey.errors import InvalidArgumentError, UnsupportedError
from engine.translate.field_table import COUNT, FLAG, INTEGER, TEXT, Codec, FieldTable, Row, list_of
from engine.translate.json_fields import JsonFields

_MINIMUM_MEMORY_BYTES = 6 << 20
_OOM_WARNING = (
    "OOM killer is disabled for the container, but no memory limit is set, "
    "this can result in the system running out of resources."
)
_NANO = 1_000_000_000
_CPUSET_PART = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")

_WEIGHT = FieldTable(
    DeviceWeight,
    (
        Row(key="Path", field="path", codec=TEXT, always=True),
        Row(key="Weight", field="weight", codec=COUNT, always=True),
    ),
)
_RATE = FieldTable(
    DeviceRate,
    (Row(key="Path", field="path", codec=TEXT, always=True), Row(key="Rate", field="rate", codec=COUNT, always=True)),
)


def _read_swappiness(fields: JsonFields, key: str, _: Any) -> int | None:
    value = fields.number(key)
    if value != -1 and not 0 <= value <= 100:
        raise InvalidArgumentError(f"Invalid value: {value}, valid memory swappiness range is 0-100")
    return None if value == -1 else value


_SWAPPINESS = Codec(_read_swappiness)
_PIDS = Codec(lambda fields, key, _: fields.number(key) or -1, lambda value: value if value > 0 else None)

RESOURCE_LIMITS = FieldTable(
    ResourceLimits,
    (
        Row(key="CpuShares", field="cpu_shares", codec=INTEGER, always=True),
        Row(key="Memory", field="memory_bytes", codec=INTEGER, always=True),
        Row(key="NanoCpus", field="nano_cpus", codec=INTEGER, always=True),
        Row(key="BlkioWeight", field="blkio_weight", codec=INTEGER, always=True),
        Row(key="BlkioWeightDevice", field="blkio_weight_devices", codec=list_of(_WEIGHT), always=True),
        Row(key="BlkioDeviceReadBps", field="blkio_read_bps", codec=list_of(_RATE), always=True),
        Row(key="BlkioDeviceWriteBps", field="blkio_write_bps", codec=list_of(_RATE), always=True),
        Row(key="BlkioDeviceReadIOps", field="blkio_read_iops", codec=list_of(_RATE), always=True),
        Row(key="BlkioDeviceWriteIOps", field="blkio_write_iops", codec=list_of(_RATE), always=True),
        Row(key="CpuPeriod", field="cpu_period_us", codec=INTEGER, always=True),
        Row(key="CpuQuota", field="cpu_quota_us", codec=INTEGER, always=True),
        Row(key="CpuRealtimePeriod", field="cpu_realtime_period_us", codec=INTEGER, always=True),
        Row(key="CpuRealtimeRuntime", field="cpu_realtime_runtime_us", codec=INTEGER, always=True),
        Row(key="CpusetCpus", field="cpuset_cpus", codec=TEXT, always=True),
        Row(key="CpusetMems", field="cpuset_mems", codec=TEXT, always=True),
        Row(key="MemoryReservation", field="memory_reservation_bytes", codec=INTEGER, always=True),
        Row(key="MemorySwap", field="memory_swap_bytes", codec=INTEGER, always=True),
        Row(key="MemorySwappiness", field="memory_swappiness", codec=_SWAPPINESS),
        Row(key="OomKillDisable", field="oom_kill_disable", codec=FLAG, always=True),
        Row(key="OomScoreAdj", field="oom_score_adj", codec=INTEGER, always=True),
        Row(key="PidsLimit", field="pids_limit", codec=_PIDS),
    ),
)


class HostCapacity(msgspec.Struct, frozen=True, kw_only=True):
    """What limits are checked against: the number of CPUs, and lists of CPUs and memory nodes such as `0-3`."""

    cpus: int
    cpu_list: str
    memory_nodes: str


def read_limits(fields: JsonFields) -> ResourceLimits:
    """Read the limits and refuse those that Linux does not have."""
    _refuse_foreign(fields)
    return RESOURCE_LIMITS.read(fields)


def write_limits(limits: ResourceLimits) -> dict[str, Any]:
    """The limits as `docker inspect` shows them."""
    written = RESOURCE_LIMITS.write(limits)
    return {"PidsLimit": None, **written, "MemorySwappiness": limits.memory_swappiness}


def check_limits(limits: ResourceLimits, host: HostCapacity, *, update: bool = False) -> list[str]:
    """Raises InvalidArgumentError in Docker's words; returns warnings. An update may set a swap limit alone."""
    _check_memory(limits, update=update)
    _check_cpu(limits, host)
    if not -1000 <= limits.oom_score_adj <= 1000:
        raise InvalidArgumentError(f"Invalid value {limits.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    if limits.blkio_weight and not 10 <= limits.blkio_weight <= 1000:
        raise InvalidArgumentError("Range of blkio weight is from 10 to 1000")
    for item in limits.blkio_weight_devices:
        if not 10 <= item.weight <= 1000:
            raise InvalidArgumentError(f"Range of blkio weight is from 10 to 1000, not {item.weight} for {item.path}")
    if limits.oom_kill_disable and not limits.memory_bytes:
        return [_OOM_WARNING]
    return []


def _check_memory(limits: ResourceLimits, *, update: bool) -> None:
    memory, swap, reservation = limits.memory_bytes, limits.memory_swap_bytes, limits.memory_reservation_bytes
    if memory and memory < _MINIMUM_MEMORY_BYTES:
        raise InvalidArgumentError("Minimum memory limit allowed is 6MB")
    if memory and 0 < swap < memory:
        raise InvalidArgumentError("Minimum memoryswap limit should be larger than memory limit, see usage")
    if swap < -1:
        raise InvalidArgumentError(f"invalid MemorySwap {swap}: use -1 for unlimited swap")
    if not memory and swap > 0 and not update:
        raise InvalidArgumentError("You should always set the Memory limit when using Memoryswap limit, see usage")
    if reservation and reservation < _MINIMUM_MEMORY_BYTES:
        raise InvalidArgumentError("Minimum memory reservation allowed is 6MB")
    if memory and reservation > memory:
        raise InvalidArgumentError("Minimum memory limit can not be less than memory reservation limit, see usage")


def _check_cpu(limits: ResourceLimits, host: HostCapacity) -> None:
    period, quota = limits.cpu_period_us, limits.cpu_quota_us
    if limits.nano_cpus and period:
        raise InvalidArgumentError("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if limits.nano_cpus and quota:
        raise InvalidArgumentError("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if limits.nano_cpus and not _NANO // 100 <= limits.nano_cpus <= host.cpus * _NANO:
        raise InvalidArgumentError(
            f"Range of CPUs is from 0.01 to {host.cpus}.00, as there are only {host.cpus} CPUs available"
        )
    if period and not 1000 <= period <= 1_000_000:
        raise InvalidArgumentError(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < quota < 1000:
        raise InvalidArgumentError("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if limits.cpu_shares < 0:
        raise InvalidArgumentError(f"invalid CPU shares ({limits.cpu_shares}): value must be a positive integer")
    if limits.cpu_realtime_runtime_us > limits.cpu_realtime_period_us > 0:
        raise InvalidArgumentError("cpu real-time runtime cannot be higher than cpu real-time period")
    _check_cpuset("CPUs", "cpuset cpus", limits.cpuset_cpus, host.cpu_list)
    _check_cpuset("memory nodes", "cpuset mems", limits.cpuset_mems, host.memory_nodes)


def _check_cpuset(noun: str, option: str, text: str, available: str) -> None:
    wanted = _parse_cpuset(option, text)
    if not wanted <= _parse_cpuset(option, available):
        raise InvalidArgumentError(f"Requested {noun} are not available - requested {text}, available: {available}")


def _parse_cpuset(option: str, text: str) -> set[int]:
    """The numbers of a list such as `0-2,7`."""
    numbers: set[int] = set()
    for part in text.split(",") if text else ():
        match = _CPUSET_PART.fullmatch(part.strip())
        if match is None:
            raise InvalidArgumentError(f"Invalid value {text} for {option}: invalid format: {part}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise InvalidArgumentError(f"Invalid value {text} for {option}: invalid range: {part}")
        numbers.update(range(first, last + 1))
    return numbers


def _refuse_foreign(fields: JsonFields) -> None:
    """Refuse the limits of Windows, and those that the kernel or the runtime no longer has."""
    for key, what in (("IOMaximumBandwidth", "maximum bandwidth"), ("IOMaximumIOps", "maximum IOPs")):
        if fields.number(key):
            raise InvalidArgumentError(f"invalid QoS settings: linux does not support configuration of {what}")
    for key in ("CpuCount", "CpuPercent"):
        if fields.number(key):
            raise InvalidArgumentError(f"{fields.path_of(key)} is an option of Windows; remove it")
    for key in ("KernelMemory", "KernelMemoryTCP"):
        if fields.number(key):
            raise UnsupportedError(
                f"{fields.path_of(key)} is not supported: the OCI runtime no longer sets it; remove it"
            )
