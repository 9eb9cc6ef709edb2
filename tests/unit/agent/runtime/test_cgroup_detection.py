"""Cgroup layout of a host, detected from its mount table."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.runtime import cgroup, mounts
from agent.runtime.limits import ResourceLimits
from covey.errors import UnsupportedError

HYBRID = """\
30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
33 30 0:29 / /sys/fs/cgroup/systemd rw shared:5 - cgroup cgroup rw,xattr,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
35 25 0:31 / /a\\040b\\303\\251 rw - ext4 /dev/x rw
"""


def test_a_hybrid_host_counts_as_version_one_with_its_controllers() -> None:
    host = cgroup.detect(mounts.parse_mountinfo(HYBRID))
    assert host.version == 1
    assert host.hierarchies["cpu"] == host.hierarchies["cpuacct"] == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert Path("/sys/fs/cgroup/unified") in host.mount_points
    assert not host.swap


def test_a_limit_without_its_controller_is_refused_by_name() -> None:
    host = cgroup.detect(mounts.parse_mountinfo(HYBRID))
    cgroup.require_controllers(ResourceLimits(nano_cpus=1, pids_limit=5), host)
    with pytest.raises(UnsupportedError, match="memory, cpuset"):
        cgroup.require_controllers(ResourceLimits(memory_bytes=1, cpuset_cpus="0", pids_limit=1), host)


def test_a_host_without_cgroups_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="no cgroups"):
        cgroup.detect([])


def test_the_mount_table_is_read_with_its_escapes() -> None:
    points = mounts.parse_mountinfo(HYBRID)
    assert points[-1].target == "/a bé"
    assert points[3].options == "rw,xattr,name=systemd"
