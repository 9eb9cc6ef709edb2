"""Host information for ``docker info`` and ``docker version``, read once when the daemon starts.

Reads /proc, /etc/os-release and the cgroup mounts. What is missing becomes a warning, never an error.
"""

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import msgspec

from covey.image_platform import host_architecture


class HostInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a host. ``architecture`` is the kernel's name, ``goarch`` the one of image platforms. ``cpu_list`` and
    ``memory_nodes`` are lists such as `0-3`.
    """

    kernel: str
    operating_system: str
    os_version: str
    architecture: str
    goarch: str
    cpus: int
    cpu_list: str
    memory_nodes: str
    memory_bytes: int
    cgroup_version: str
    security_options: tuple[str, ...]
    controllers: frozenset[str]
    ip_forwarding: bool
    swap_limit: bool
    backing_file_system: str
    warnings: tuple[str, ...]


def read_host(root: Path = Path("/"), extra_warnings: Sequence[str] = (), state_dir: str = "/") -> HostInfo:
    """Read the files below ``root``. ``extra_warnings`` are added to the host's own; ``state_dir`` is the daemon's."""
    unified = (root / "sys/fs/cgroup/cgroup.controllers").exists()
    controllers = _controllers(root, unified=unified)
    release = _os_release(root)
    names = ["name=seccomp,profile=builtin"]
    names += ["name=apparmor"] if _text(root / "sys/module/apparmor/parameters/enabled").startswith("Y") else []
    names += ["name=selinux"] if (root / "sys/fs/selinux/enforce").exists() else []
    names += ["name=cgroupns"] if unified else []
    return HostInfo(
        kernel=platform.release(),
        operating_system=release.get("PRETTY_NAME", "Linux"),
        os_version=release.get("VERSION_ID", ""),
        architecture=platform.machine(),
        goarch=host_architecture(),
        cpus=os.cpu_count() or 1,
        cpu_list=_text(root / "sys/devices/system/cpu/online").strip() or "0",
        memory_nodes=_text(root / "sys/devices/system/node/online").strip() or "0",
        memory_bytes=_memory_bytes(root),
        cgroup_version="2" if unified else "1",
        security_options=tuple(names),
        controllers=controllers,
        ip_forwarding=_text(root / "proc/sys/net/ipv4/ip_forward").strip() == "1",
        swap_limit=_has_swap_limit(root, unified=unified),
        backing_file_system=_file_system(_text(root / "proc/self/mounts"), state_dir),
        warnings=(*warnings(controllers), *extra_warnings),
    )


def warnings(controllers: frozenset[str]) -> tuple[str, ...]:
    """One warning for each missing cgroup controller."""
    return tuple(
        f"WARNING: the cgroup controller {name!r} is missing: {limits} are refused on this host"
        for name, limits in (("memory", "memory limits"), ("cpu", "CPU limits"), ("pids", "limits on processes"))
        if name not in controllers
    )


def _has_swap_limit(root: Path, *, unified: bool) -> bool:
    """Whether the kernel can limit swap. On version 2 only cgroups below the root have the file."""
    groups = root / "sys/fs/cgroup"
    if unified:
        return any(groups.glob("*/memory.swap.max"))
    return (groups / "memory/memory.memsw.limit_in_bytes").exists()


def _file_system(mounts: str, path: str) -> str:
    """The type of the file system that holds ``path``; ext is called extfs, as Docker does."""
    found, longest = "", -1
    for line in mounts.splitlines():
        _, target, kind, *_ = [*line.split(), "", "", ""]
        inside = path == target or path.startswith(target.rstrip("/") + "/")
        if inside and len(target) >= longest:
            found, longest = kind, len(target)
    return "extfs" if found.startswith("ext") else found or "<unknown>"


def _controllers(root: Path, *, unified: bool) -> frozenset[str]:
    if unified:
        return frozenset(_text(root / "sys/fs/cgroup/cgroup.controllers").split())
    names: set[str] = set()
    for line in _text(root / "proc/cgroups").splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[3] == "1" and fields[1] != "0":
            names.add(fields[0])
    return frozenset(names)


def _os_release(root: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in _text(root / "etc/os-release").splitlines())
    return {key: value.strip('"') for key, _, value in pairs if value}


def _memory_bytes(root: Path) -> int:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
