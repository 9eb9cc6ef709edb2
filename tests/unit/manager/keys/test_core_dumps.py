"""Core dumps: off in a process that holds an unlock key, unchanged in its children."""

import subprocess
import sys

PROGRAM = """
import ctypes, subprocess, sys
from manager.keys.core_dumps import keep_out_of_dumps
dumpable = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
before = dumpable()
keep_out_of_dumps()
child = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
print(before, dumpable(), subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout.strip())
"""


def test_holding_a_key_means_no_core_dump() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["1", "0", "1"]
