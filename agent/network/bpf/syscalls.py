"""The bpf system call: maps, programs and links to a cgroup. Layouts of its arguments: union bpf_attr in linux/bpf.h.

Invariant: everything lives as long as its file descriptor, so nothing is left behind when the process ends, however it ends.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

from covey.errors import UnsupportedError

_CALL_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_MAP_CREATE, _MAP_UPDATE, _MAP_DELETE, _PROGRAM_LOAD, _LINK_CREATE = 0, 2, 3, 5, 28
_HASH_MAP, _LRU_HASH_MAP = 1, 9
_CGROUP_SOCK_ADDR = 18
_ATTRIBUTE_BYTES = 144
_LOG_BYTES = 1 << 16
_libc = ctypes.CDLL(None, use_errno=True)


class HashMap:
    """A hash map of the kernel, with keys and values of fixed sizes. `least_recently_used` entries make room by themselves."""

    def __init__(self, key_bytes: int, value_bytes: int, entries: int, *, least_recently_used: bool = False) -> None:
        kind = _LRU_HASH_MAP if least_recently_used else _HASH_MAP
        self.fd = _bpf(_MAP_CREATE, struct.pack("=IIIII", kind, key_bytes, value_bytes, entries, 0))

    def put(self, key: bytes, value: bytes) -> None:
        keys, values = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
        _bpf(_MAP_UPDATE, struct.pack("=I4xQQQ", self.fd, ctypes.addressof(keys), ctypes.addressof(values), 0))

    def delete(self, key: bytes) -> None:
        """Delete an entry. Raises FileNotFoundError if there is none."""
        keys = ctypes.create_string_buffer(key, len(key))
        _bpf(_MAP_DELETE, struct.pack("=I4xQ", self.fd, ctypes.addressof(keys)))

    def close(self) -> None:
        os.close(self.fd)


def load_program(code: bytes, attach_type: int, name: str) -> int:
    """Load a program for socket addresses of a cgroup. Returns its file descriptor. Raises UnsupportedError with the verifier's words."""
    log, text = ctypes.create_string_buffer(_LOG_BYTES), ctypes.create_string_buffer(code, len(code))
    license_name = ctypes.create_string_buffer(b"GPL\0")
    attribute = struct.pack(
        "=IIQQIIQII16sII",
        _CGROUP_SOCK_ADDR, len(code) // 8, ctypes.addressof(text), ctypes.addressof(license_name), 1, len(log),
        ctypes.addressof(log), 0, 0, name.encode(), 0, attach_type,
    )  # fmt: skip
    try:
        return _bpf(_PROGRAM_LOAD, attribute)
    except OSError as error:
        reason = log.value.decode(errors="replace").strip().splitlines()[-1:]
        raise UnsupportedError(
            f"this kernel refused the BPF program {name}: {error.strerror} {' '.join(reason)}"
        ) from error


def link_to_cgroup(program: int, cgroup: int, attach_type: int) -> int:
    """Run the program for the sockets of the cgroup and those below, until the returned file descriptor is closed."""
    return _bpf(_LINK_CREATE, struct.pack("=IIII", program, cgroup, attach_type, 0))


def _bpf(command: int, attribute: bytes) -> int:
    number = _CALL_NUMBERS.get(platform.machine())
    if number is None:
        raise UnsupportedError(f"BPF system calls are not known for the architecture {platform.machine()}")
    buffer = ctypes.create_string_buffer(attribute.ljust(_ATTRIBUTE_BYTES, b"\0"), _ATTRIBUTE_BYTES)
    result = int(_libc.syscall(number, command, buffer, _ATTRIBUTE_BYTES))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
