"""nftables transactions through libnftables, one context per namespace.

Invariant: no process is started.
Invariant: a batch is one transaction. The kernel applies all of it, or refuses all of it with a reason.
Invariant: one thread at a time is inside the library, because its parser and its caches are not made for more.

A context is created inside its namespace. Afterwards any thread may use it, one at a time.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import threading

from agent.network.netns import Namespace
from covey.errors import CoveyError, UnavailableError, UnsupportedError

_LIBRARY = "libnftables.so.1"
_STATELESS, _JSON, _TERSE = 1 << 2, 1 << 4, 1 << 11
_lock = threading.Lock()
_LOCATION = re.compile(r"^\S+?:(\d+):\d+-\d+: Error: (.*)$", re.MULTILINE)


class NftablesContext:
    """A libnftables context in one namespace, by default the one of the calling thread."""

    __slots__ = ("_context", "_path")

    def __init__(self, namespace: Namespace | None = None) -> None:
        library = _library()
        self._path = namespace.path if namespace else "of this thread"
        with _lock:
            self._context = namespace.run(lambda: library.nft_ctx_new(0)) if namespace else library.nft_ctx_new(0)
        if not self._context:
            raise UnavailableError(f"nftables cannot be opened in namespace {self._path}")
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)

    def run(self, commands: str) -> str:
        """Run commands as one transaction. Returns their output. Raises UnavailableError or UnsupportedError with the reason."""
        with _lock:
            return self._run(commands, 0)

    def list_json(self, command: str, *, terse: bool = False) -> bytes:
        """The output of a `list` command as JSON, without counters. `terse` leaves out the elements of sets."""
        with _lock:
            return self._run(command, _JSON | _STATELESS | (_TERSE if terse else 0)).encode()

    def list_counters(self, command: str) -> bytes:
        """The output of a `list` command as JSON, with counters."""
        with _lock:
            return self._run(command, _JSON).encode()

    def locate_errors(self, commands: str) -> list[tuple[int, str]]:
        """Run commands as one transaction. Returns the number of each line that was refused, counted from 0, and why.

        The number is -1 for a refusal that names no line.
        """
        library = _library()
        with _lock:
            descriptor = os.memfd_create("nft")
            try:
                with open(descriptor, "w", closefd=False) as file:
                    file.write(commands)
                library.nft_ctx_output_set_flags(self._context, 0)
                if library.nft_run_cmd_from_filename(self._context, f"/proc/self/fd/{descriptor}".encode()) == 0:
                    return []
                message: bytes = library.nft_ctx_get_error_buffer(self._context)
            finally:
                os.close(descriptor)
        text = message.decode(errors="replace")
        located = [(int(line) - 1, reason) for line, reason in _LOCATION.findall(text)]
        return located or [(-1, text.strip().partition("\n")[0] or "no reason was given")]

    def close(self) -> None:
        if self._context:
            with _lock:
                _library().nft_ctx_free(self._context)
            self._context = None

    def _run(self, commands: str, flags: int) -> str:
        library = _library()
        library.nft_ctx_output_set_flags(self._context, flags)
        if library.nft_run_cmd_from_buffer(self._context, commands.encode()) != 0:
            message: bytes = library.nft_ctx_get_error_buffer(self._context)
            raise self._error(message.decode(errors="replace").strip().partition("\n")[0])
        output: bytes = library.nft_ctx_get_output_buffer(self._context)
        return output.decode()

    def _error(self, reason: str) -> CoveyError:
        if "Operation not supported" in reason or "No such file or directory" in reason:
            return UnsupportedError(
                f"nftables of this kernel refused a rule in namespace {self._path} (it needs nat, numgen and reject): {reason}"
            )
        return UnavailableError(f"nftables refused a transaction in namespace {self._path}: {reason}")


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise UnsupportedError(f"{_LIBRARY} is not installed on this host: apt-get install libnftables1") from None
    library.nft_ctx_new.restype = ctypes.c_void_p
    for name in ("nft_ctx_get_error_buffer", "nft_ctx_get_output_buffer"):
        getattr(library, name).restype = ctypes.c_char_p
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_free"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    for name in ("nft_run_cmd_from_buffer", "nft_run_cmd_from_filename"):
        getattr(library, name).argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library
