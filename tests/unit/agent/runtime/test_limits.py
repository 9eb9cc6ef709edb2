"""Limits of a container as the OCI runtime takes them, and which of them a host can set."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.runtime import cgroup, mounts
from agent.runtime.cgroup import CgroupLayout, Feature
from agent.runtime.limits import DeviceRate, DeviceWeight, ResourceLimits, oci_resources
from covey.errors import UnsupportedError

V2 = CgroupLayout(2, dict.fromkeys(("memory", "cpu", "pids", "io", "cpuset"), Path("/c")), frozenset({Feature.SWAP}))


def test_every_limit_reaches_the_runtime() -> None:
    limits = ResourceLimits(
        memory_bytes=100, memory_swap_bytes=-1, memory_reservation_bytes=50, memory_swappiness=0, oom_kill_disable=True,
        cpu_shares=7, cpu_quota_us=2000, cpu_period_us=5000, cpu_realtime_period_us=9, cpu_realtime_runtime_us=8,
        cpuset_cpus="0", cpuset_mems="0", pids_limit=5, blkio_weight=300,
        blkio_weight_devices=(DeviceWeight(path="/dev/a", weight=10),),
        blkio_read_bps=(DeviceRate(path="/dev/a", rate=1),), blkio_write_bps=(DeviceRate(path="/dev/b", rate=2),),
        blkio_read_iops=(DeviceRate(path="/dev/a", rate=3),), blkio_write_iops=(DeviceRate(path="/dev/b", rate=4),),
    )  # fmt: skip
    assert limits.block_devices == ("/dev/a", "/dev/b")
    made = oci_resources(limits, swap_limits=True, devices={"/dev/a": (8, 0), "/dev/b": (8, 16)})
    assert made["memory"] == {
        "limit": 100, "swap": -1, "reservation": 50, "swappiness": 0, "disableOOMKiller": True,
    }  # fmt: skip
    assert made["cpu"] == {
        "shares": 7, "quota": 2000, "period": 5000, "realtimePeriod": 9, "realtimeRuntime": 8, "cpus": "0", "mems": "0",
    }  # fmt: skip
    assert made["pids"] == {"limit": 5}
    assert made["blockIO"] == {
        "weight": 300,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
        "throttleWriteBpsDevice": [{"major": 8, "minor": 16, "rate": 2}],
        "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 4}],
    }
    assert oci_resources(ResourceLimits(pids_limit=-1), swap_limits=False) == {"pids": {"limit": -1}}


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (ResourceLimits(memory_swappiness=5), "MemorySwappiness"),
        (ResourceLimits(oom_kill_disable=True), "OomKillDisable"),
        (ResourceLimits(cpu_realtime_runtime_us=5), "CpuRealtimeRuntime"),
        (ResourceLimits(blkio_weight=50), "BlkioWeight"),
        (ResourceLimits(blkio_read_iops=(DeviceRate(path="/dev/a", rate=3),)), "BlkioDeviceReadIOps"),
    ],
)
def test_a_limit_that_the_kernel_cannot_set_is_refused_by_name(limits: ResourceLimits, name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{name} is not supported by this host's kernel and cgroup v2"):
        cgroup.require_controllers(limits, V2)


def test_what_the_kernel_can_do_is_found_in_the_files_of_its_controllers(tmp_path: Path) -> None:
    (tmp_path / "memory.swappiness").touch()
    (tmp_path / "blkio.bfq.io_serviced").touch()
    found = cgroup._features_v1({"memory": tmp_path, "blkio": tmp_path})  # noqa: SLF001  detect() only knows /sys
    assert found == {Feature.SWAPPINESS, Feature.BLKIO_WEIGHT}
    assert cgroup.detect(mounts.list_mounts()).features
