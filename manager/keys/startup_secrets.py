"""Secrets between the daemon and its manager process: one line of JSON on standard input, lines on standard output.

Invariant: unlock keys and the root's private key travel only over these two pipes: never as an argument, in the environment or in a file,
and they are never logged. A manager reads the line only if it needs it, so the starter of an unlocked manager may omit it.
"""

import os
import select
import sys
from collections.abc import Callable

import msgspec

_SECONDS = 10.0
_MAX_BYTES = 64 << 10
_CHUNK_BYTES = 4096
KEY_LINE = b"key "


class StartupSecrets(msgspec.Struct, frozen=True, kw_only=True):
    """``unlock_keys``: keys that may open the key file, the likeliest first. ``backup_key`` decrypts the backup of a restore. ``root_key``
    is the private key of an operator-provided root CA.
    """

    unlock_keys: tuple[str, ...] = ()
    backup_key: str = ""
    root_key: bytes = b""

    def __repr__(self) -> str:
        return f"StartupSecrets({len(self.unlock_keys)} unlock keys)"

    def __bool__(self) -> bool:
        return bool(self.unlock_keys or self.backup_key or self.root_key)

    def line(self) -> bytes:
        return msgspec.json.encode(self) + b"\n"


ReadSecrets = Callable[[], StartupSecrets]
"""Reads the secrets from standard input. Called only by code that needs one."""


def receive(fd: int = 0) -> StartupSecrets:
    """Reads the secrets from standard input. Empty if nothing arrives within 10 s or the input is closed."""
    data = b""
    while b"\n" not in data and len(data) < _MAX_BYTES:
        ready, _, _ = select.select([fd], [], [], _SECONDS)
        chunk = os.read(fd, _CHUNK_BYTES) if ready else b""
        if not chunk:
            break
        data += chunk
    try:
        return msgspec.json.decode(data.partition(b"\n")[0], type=StartupSecrets)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return StartupSecrets()


def announce_unlock_key(unlock_key: str) -> None:
    """Tells the daemon that the key file may need this unlock key from now on."""
    sys.stdout.write(f"{KEY_LINE.decode()}{unlock_key}\n")
    sys.stdout.flush()


def parse_unlock_key(line: bytes) -> str:
    """The unlock key in a line of the manager's output. Empty for other lines."""
    return line[len(KEY_LINE) :].strip().decode() if line.startswith(KEY_LINE) else ""
