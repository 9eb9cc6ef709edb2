"""Pipes between the daemon and the worker process for container files."""

import fcntl

_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031


def enlarge_pipe(fd: int) -> None:
    """Let the pipe hold a megabyte, so that both ends switch less often."""
    try:
        fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        return  # no pipe, or above the limit of an unprivileged user: it works with less
