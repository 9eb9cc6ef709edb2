"""Linux capabilities: Docker's default set, and the bounding set after --cap-add, --cap-drop and --privileged. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from covey.errors import InvalidArgumentError

DEFAULT = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)

# In the kernel's numbering: the index is the capability's bit.
_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
PERFMON BPF CHECKPOINT_RESTORE
"""
ALL = tuple(f"CAP_{name}" for name in _NAMES.split())


def bounding_set(add: Sequence[str], drop: Sequence[str], *, privileged: bool, last: int) -> tuple[str, ...]:
    """The bounding set, in the kernel's order. `last` is the number of the highest capability that the kernel knows."""
    supported = ALL[: last + 1]
    if privileged:
        return supported
    added, dropped = _normalize(add), _normalize(drop)
    chosen = set(supported) if "ALL" in added else set(DEFAULT)
    if "ALL" in dropped:
        chosen = set(supported) if "ALL" in added else set()
    chosen -= dropped
    chosen |= added - {"ALL"}
    return tuple(cap for cap in supported if cap in chosen)


def _normalize(names: Sequence[str]) -> set[str]:
    """Names with the CAP_ prefix, or ALL. Raises InvalidArgumentError for an unknown name."""
    found = set()
    for name in names:
        upper = name.upper()
        full = upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"
        if full != "ALL" and full not in ALL:
            raise InvalidArgumentError(f'unknown capability "{name}"')
        found.add(full)
    return found
