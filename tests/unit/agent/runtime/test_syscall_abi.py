"""ABIs of the kernel's system calls."""

import subprocess
import sys

from agent.runtime import syscall_abi


def test_x32_is_what_an_x32_call_says() -> None:
    """A child asks, with another call, because the answer is the kernel's: x32 write(2) of nothing."""
    call = "import ctypes; print(ctypes.CDLL(None).syscall(ctypes.c_long(0x40000000 + 1), 1, b'', 0))"
    asked = subprocess.run([sys.executable, "-c", call], capture_output=True, check=False)
    assert syscall_abi.runs_x32() == (asked.stdout == b"0\n")
