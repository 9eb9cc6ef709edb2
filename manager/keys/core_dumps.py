"""Core dumps off for processes that hold an unlock key.

Invariant: a process that holds an unlock key writes no core dump. Processes that it starts with ``exec`` are not affected. Swap is the
host's matter. Called where a key comes in, by the manager process and by its daemon.
"""

import ctypes

_PR_SET_DUMPABLE = 4


def keep_out_of_dumps() -> None:
    """Marks this process as not dumpable. Raises OSError if the kernel refuses."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
