"""System call ABIs of the kernel: whether it runs x32 programs.

Called by `agent.container.bundle` for seccomp filters.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import platform
from pathlib import Path

_X32_GETPID = 0x40000000 + 39


@functools.cache
def runs_x32() -> bool:
    """Whether the kernel takes x32 system calls. Most do not: Debian's and Ubuntu's need `syscall.x32=y`.

    A process under a seccomp filter does not ask, because the filter may kill it for the question; the answer is then yes.
    """
    if platform.machine() != "x86_64":
        return False
    if "\nSeccomp:\t0\n" not in Path("/proc/self/status").read_text():
        return True
    libc = ctypes.CDLL(None, use_errno=True)
    return not (libc.syscall(ctypes.c_long(_X32_GETPID)) == -1 and ctypes.get_errno() == errno.ENOSYS)
