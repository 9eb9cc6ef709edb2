"""VXLAN owner: which device of this host holds a VXLAN id that a network needs, and whether a former Covey daemon left it.

Invariant: a device is a candidate only if its UDP socket is in the host's namespace: other hosts on one machine (labs) may use the same
ids.
A device is left over only if it carries Covey's alias, is in a sandbox below another daemon's run directory, and no daemon runs there.

Blocking, for the thread of the kernel's work. Asked only after the kernel has refused an id.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from agent.network import links
from agent.network.netns import Namespace
from covey.errors import CoveyError

_SANDBOXES = ("netns", "networks")
_DAEMON = b"coveyd"
_DOCKER_FOLDERS = ("/run/docker/netns", "/var/run/docker/netns")


class VxlanOwner(msgspec.Struct, frozen=True):
    """A VXLAN device. ``path`` leads to its namespace from this process, ``name`` is the namespace in words, ``shown`` its path for users;
    ``is_left`` says that a Covey daemon that does not run any more made it.
    """

    device: str
    path: str
    name: str
    shown: str = ""
    is_left: bool = False

    @property
    def description(self) -> str:
        """Who has the id, and what to do."""
        enter = f"nsenter --net={self.shown} " if self.shown else ""
        return f"the device {self.device} {self.name}: stop what uses it, or remove it ({enter}ip link delete {self.device})"


class _Place(msgspec.Struct, frozen=True):
    """A network namespace. ``mount`` is where it is mounted in this process's mount namespace, empty if it is not."""

    path: str
    mount: str = ""
    process: str = ""


def find_owner(vni: int, port: int, host: Namespace, alias: str) -> VxlanOwner | None:
    """The device that has this id on this UDP port of the host; None if none can be seen."""
    for place in _namespaces(host):
        try:
            namespace = Namespace(place.path)
        except (CoveyError, OSError):
            continue  # it has ended
        try:
            found = links.run_in_namespace(
                namespace, "look for VXLAN devices", lambda route: _device(route, vni, port, host.fd)
            )
        except (CoveyError, OSError):
            continue
        finally:
            namespace.close()
        if found is not None:
            device, its_alias = found
            return _owner(device, its_alias == alias, place)
    return None


def remove(owner: VxlanOwner) -> bool:
    """Removes a device that is left over. Returns whether it was there."""
    namespace = Namespace(owner.path)
    try:
        what = f"remove the VXLAN device {owner.device} {owner.name}"
        return links.run_in_namespace(namespace, what, lambda route: links.delete_link(route, owner.device))
    finally:
        namespace.close()


def _device(route: Any, vni: int, port: int, host_fd: int) -> tuple[str, str] | None:
    """Name and alias of the device with the id, among those of a namespace whose sockets are in the host's."""
    host_id: int | None = None
    for link in route.get_links():
        info = link.get_attr("IFLA_LINKINFO")
        if info is None or info.get_attr("IFLA_INFO_KIND") != "vxlan":
            continue
        data = info.get_attr("IFLA_INFO_DATA")
        if data is None or data.get_attr("IFLA_VXLAN_ID") != vni or data.get_attr("IFLA_VXLAN_PORT") != port:
            continue
        home = link.get_attr("IFLA_LINK_NETNSID")
        if home is None:  # its socket is in its own namespace
            if not _is_same_namespace(host_fd):
                continue
        else:
            host_id = host_id if host_id is not None else (route.get_netnsid(fd=host_fd) or {}).get("nsid")
            if host_id != home:
                continue
        return str(link.get_attr("IFLA_IFNAME")), str(link.get_attr("IFLA_IFALIAS") or "")
    return None


def _is_same_namespace(fd: int) -> bool:
    """Whether the calling thread is in that namespace."""
    return os.fstat(fd).st_ino == Path("/proc/thread-self/ns/net").stat().st_ino


def _owner(device: str, is_covey: bool, place: _Place) -> VxlanOwner:
    if place.mount:
        folder = Path(place.mount).parent
        run_dir = folder.parent.parent if folder.parts[-2:] == _SANDBOXES else None
        if is_covey and run_dir is not None:
            daemon = _daemon_of(run_dir)
            of = f"of the Covey daemon of {run_dir}" + (f" (process {daemon})" if daemon else "")
            return VxlanOwner(device, place.path, f"in a sandbox {of}", place.mount, is_left=not daemon)
        docker = " (Docker)" if str(folder) in _DOCKER_FOLDERS else ""
        return VxlanOwner(device, place.path, f"in the network namespace {place.mount}{docker}", place.mount)
    if place.process:
        return VxlanOwner(device, place.path, f"in the network namespace of {place.process}", place.path)
    return VxlanOwner(device, place.path, "of this host")


def _daemon_of(run_dir: Path) -> int:
    """PID of the daemon that runs with this run directory; 0 if none does."""
    try:
        pid = int((run_dir / "coveyd.pid").read_text())
        is_daemon = _DAEMON in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return 0
    return pid if is_daemon else 0


def _namespaces(host: Namespace) -> Iterator[_Place]:
    """Each network namespace once: the host's, those with a name, then those of processes."""
    seen = {os.fstat(host.fd).st_ino}
    yield _Place(f"/proc/self/fd/{host.fd}")
    for mount in _mounted_namespaces():
        inode = _inode(mount)
        if inode and inode not in seen:
            seen.add(inode)
            yield _Place(mount, mount=mount)
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda each: int(each.name)):
        path = f"{folder}/ns/net"
        inode = _inode(path)
        if inode and inode not in seen:
            seen.add(inode)
            yield _Place(path, process=_process(folder))


def _mounted_namespaces() -> list[str]:
    """Paths of the network namespaces that are mounted in this process's mount namespace. Format: proc(5), mountinfo."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return []
    fields = [line.split(" ") for line in lines]
    return [each[4] for each in fields if each[3].startswith("net:[")]


def _inode(path: str) -> int:
    try:
        return Path(path).stat().st_ino
    except OSError:
        return 0


def _process(folder: Path) -> str:
    try:
        return f"process {folder.name} ({(folder / 'comm').read_text().strip()})"
    except OSError:
        return f"process {folder.name}"
