"""What a process holds in its memory must not reach the disk by a crash.

Law: whoever holds an unlock key writes no core dump from then on. What it starts by ``exec`` is as before. Called where a key comes in,
by the manager's process and by its daemon. Swap is the host's affair.
"""

import ctypes

_PR_SET_DUMPABLE = 4


def keep_out_of_dumps() -> None:
    """Raises OSError where the kernel refuses, which it does not for a process itself."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
