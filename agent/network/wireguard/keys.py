"""This host's WireGuard keys, in a file on tmpfs: a restarted daemon keeps them, a restarted host makes new ones.

Invariant: a private key is never written to a disk and never leaves the host.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey


class TunnelKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key with the device that has it, and the UDP port of that device."""

    device: str
    port: int
    private_key: str
    public_key: str


class TunnelKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The present key, and while keys are rotated the one before, with which this host sends until `sends_new`.

    `made_at` is the time of day when the present key was made, in seconds.
    """

    present: TunnelKey
    previous: TunnelKey | None = None
    sends_new: bool = True
    made_at: float = 0.0

    @property
    def all(self) -> tuple[TunnelKey, ...]:
        return (self.present,) if self.previous is None else (self.present, self.previous)

    @property
    def sender(self) -> TunnelKey:
        return self.present if self.sends_new or self.previous is None else self.previous


def new_key(device: str, port: int) -> TunnelKey:
    private = X25519PrivateKey.generate()
    return TunnelKey(
        device=device,
        port=port,
        private_key=base64.b64encode(private.private_bytes_raw()).decode(),
        public_key=base64.b64encode(private.public_key().public_bytes_raw()).decode(),
    )


def load(path: Path) -> TunnelKeys | None:
    """The keys that an earlier process left; None if there are none, or no usable ones."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=TunnelKeys)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def save(path: Path, keys: TunnelKeys) -> None:
    """Replace the file, readable by root alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(keys))
    new.replace(path)
