"""Memory and threads of the daemon: what it does not load, and what it returns to the kernel after its start and after bursts of work.

Invariant: every request that the daemon sends over HTTPS has a TLS context of its own (``agent.image.registry.transport``,
``agent.image.peer.tls``); the contexts that aiohttp makes for itself are never used.
"""

import asyncio
import contextlib
import ctypes
import gc
import os
import time
from pathlib import Path
from typing import NamedTuple

_M_ARENA_MAX = -8
_MADV_DONTNEED = 4
_GRPC_EXPERIMENTS = "-event_engine_client,-event_engine_listener"
_CHECK_SECONDS = 5.0
_BURST_SECONDS = 0.25
_QUIET_SHARE = 0.04
_CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def limit_malloc_arenas() -> None:
    """Use one malloc arena for all threads, which rarely allocate at the same time. glibc's default kept about 5 MB more."""
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def poll_grpc_in_one_thread() -> None:
    """Let the thread that waits for gRPC's events read and write the sockets too, in this process and the manager's. Call it before gRPC
    is imported. gRPC's own threads hand each message over several times: a fifth of the processor time and latency of a small call.
    """
    os.environ.setdefault("GRPC_EXPERIMENTS", _GRPC_EXPERIMENTS)


def import_aiohttp_without_certificates() -> None:
    """Import aiohttp, which makes TLS contexts with all CA certificates of the host when it is imported: 2 MB and 50 ms for nothing."""
    before = {name: os.environ.get(name) for name in _CA_VARIABLES}
    os.environ.update(dict.fromkeys(_CA_VARIABLES, os.devnull))
    try:
        import aiohttp  # noqa: F401 - its import is the purpose
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def end_start() -> None:
    """Collect what the start has left, exempt the rest from later collections, and return free pages to the kernel."""
    gc.collect()
    gc.freeze()
    _return_unused_pages()


async def return_memory_after_bursts() -> None:
    """Return free pages to the kernel whenever the daemon is quiet after work, such as tasks that started or an image that was loaded."""
    returned = before = time.process_time()
    while True:
        await asyncio.sleep(_CHECK_SECONDS)
        now = time.process_time()
        if is_after_burst(now - returned, now - before):
            await asyncio.to_thread(_return_unused_pages)
            returned = now = time.process_time()
        before = now


def is_after_burst(worked_seconds: float, lately_seconds: float) -> bool:
    """Whether the processor time since the last return was work worth returning its memory, and the last check interval was quiet. Pure."""
    return worked_seconds >= _BURST_SECONDS and lately_seconds <= _QUIET_SHARE * _CHECK_SECONDS


def _return_unused_pages() -> None:
    with contextlib.suppress(AttributeError, OSError):  # another C library
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
        _unmap_code(libc, Path("/proc/self/maps").read_text())


def _unmap_code(libc: ctypes.CDLL, maps: str) -> None:
    """Unmap the code pages of libraries. The start runs most of gRPC's and OpenSSL's initialization, which nothing needs again, and
    quiet times need little of what a burst needs. What is used is mapped again from the page cache. Only executable mappings:
    read-only data has been relocated and is not in the file.
    """
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for mapping in code_mappings(maps):
        libc.madvise(mapping.start, mapping.size, _MADV_DONTNEED)


class CodeMapping(NamedTuple):
    start: int
    size: int


def code_mappings(maps: str) -> list[CodeMapping]:
    """The executable, unwritable mappings of shared libraries in the text of ``/proc/PID/maps``. Pure."""
    found = []
    for line in maps.splitlines():
        addresses, mode, *_, path = line.split(maxsplit=5) if line.count(" ") >= 5 else (line, "", "")
        if mode == "r-xp" and ".so" in path:
            start, end = (int(text, 16) for text in addresses.split("-"))
            found.append(CodeMapping(start, end - start))
    return found
