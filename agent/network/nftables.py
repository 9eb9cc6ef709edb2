"""nftables transactions through libnftables, one context per namespace.

Invariant: no process is started.
Invariant: a batch is one transaction. The kernel applies all of it, or refuses all of it with a reason.

A context is created inside its namespace. Afterwards any thread may use it, one at a time.
"""

from __future__ import annotations

import ctypes
import functools

from agent.network.netns import Namespace
from covey.errors import UnavailableError, UnsupportedError

_LIBRARY = "libnftables.so.1"


class NftablesContext:
    """A libnftables context in one namespace."""

    __slots__ = ("_context", "_path")

    def __init__(self, namespace: Namespace) -> None:
        library = _library()
        self._path = namespace.path
        self._context = namespace.run(lambda: library.nft_ctx_new(0))
        if not self._context:
            raise UnavailableError(f"nftables cannot be opened in namespace {self._path}")
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)

    def run(self, commands: str) -> str:
        """Run commands as one transaction. Returns their output."""
        library = _library()
        if library.nft_run_cmd_from_buffer(self._context, commands.encode()) != 0:
            message: bytes = library.nft_ctx_get_error_buffer(self._context)
            reason = message.decode(errors="replace").strip().partition("\n")[0]
            if "Operation not supported" in reason or "No such file or directory" in reason:
                raise UnsupportedError(
                    f"nftables of this kernel refused a rule in namespace {self._path} (it needs nat, numgen and reject): {reason}"
                )
            raise UnavailableError(f"nftables refused a transaction in namespace {self._path}: {reason}")
        output: bytes = library.nft_ctx_get_output_buffer(self._context)
        return output.decode()

    def close(self) -> None:
        if self._context:
            _library().nft_ctx_free(self._context)
            self._context = None


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
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library
