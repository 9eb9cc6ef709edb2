"""Linux capability lists in Docker's canonical form: upper case, with the prefix CAP_, without duplicates. Pure."""

from collections.abc import Iterable

ALL = "ALL"
# In the kernel's numbering: the index is the capability's bit.
_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
PERFMON BPF CHECKPOINT_RESTORE
"""
KNOWN = tuple(f"CAP_{name}" for name in _NAMES.split())
"""Every capability that Linux has."""


def normal(name: str) -> str:
    """One capability name in canonical form."""
    name = name.strip().upper()
    return name if name == ALL or name.startswith("CAP_") else f"CAP_{name}"


def effective(add: Iterable[str], drop: Iterable[str]) -> tuple[list[str], list[str]]:
    """The sorted lists to add and to drop. ``ALL`` replaces all other names of a list; an added capability is not dropped."""
    added, dropped = {normal(name) for name in add}, {normal(name) for name in drop}
    if ALL in added:
        added = {ALL}
    if ALL in dropped:
        dropped = {ALL}
    return sorted(added), sorted(dropped - added)
