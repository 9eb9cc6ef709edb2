"""Process 1 of a lab host: sets up the mounts that a real machine has, then executes ``tini``, which reaps processes.

Runs as a program inside the host's new namespaces. A new /sys hides the cgroup mounts, so they are bound back.
"""

import ctypes
import os
import socket
import subprocess
import sys
from pathlib import Path

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE, MS_DETACH = 4096, 16384, 1 << 18, 2

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount a file system. OSError names the target."""
    if _libc.mount(source.encode(), target.encode(), kind.encode() or None, flags, data.encode() or None):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)


def unmount(target: str) -> None:
    """Unmount lazily."""
    if _libc.umount2(target.encode(), MS_DETACH):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)


def prepare(hostname: str, resolv_conf: str) -> None:
    """Set the host name and make the mounts."""
    socket.sethostname(hostname)
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    Path("/run/cgroups").mkdir()
    Path("/run/netns").mkdir()
    mount("/sys/fs/cgroup", "/run/cgroups", flags=MS_BIND | MS_REC)
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("/run/cgroups", "/sys/fs/cgroup", flags=MS_BIND | MS_REC)
    unmount("/run/cgroups")
    Path("/run/cgroups").rmdir()
    mount(resolv_conf, "/etc/resolv.conf", flags=MS_BIND)


def main() -> None:
    """``python -m node.lab.host_init HOSTNAME RESOLV_CONF [IMAGE STATE]``. With IMAGE, the file system in it is mounted at STATE."""
    prepare(sys.argv[1], sys.argv[2])
    if len(sys.argv) > 4:
        subprocess.run(["mount", "-o", "loop", *sys.argv[3:]], check=True)
    os.execvp("tini", ["tini", "-s", "--", "sleep", "infinity"])


if __name__ == "__main__":
    main()
