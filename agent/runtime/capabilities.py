"""Linux capabilities: Docker's default set, and the bounding set after --cap-add, --cap-drop and --privileged. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from covey.capabilities import KNOWN
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

ALL = KNOWN


def supported(mask: int) -> tuple[str, ...]:
    """The capabilities in a bit mask, such as this process's own bounding set, which no container can exceed."""
    return tuple(name for bit, name in enumerate(ALL) if mask >> bit & 1)


def bounding_set(
    add: Sequence[str], drop: Sequence[str], *, privileged: bool, available: Sequence[str] = ALL
) -> tuple[str, ...]:
    """The bounding set, in the kernel's order. `available` are the capabilities that this host can grant."""
    added, dropped = _normalize("CapAdd", add, available), _normalize("CapDrop", drop, ALL)
    if privileged:
        return tuple(available)
    chosen = set(available) if "ALL" in added else set(DEFAULT)
    if "ALL" in dropped:
        chosen = set(available) if "ALL" in added else set()
    chosen -= dropped
    chosen |= added - {"ALL"}
    return tuple(cap for cap in available if cap in chosen)


def _normalize(option: str, names: Sequence[str], available: Sequence[str]) -> set[str]:
    """Names with the CAP_ prefix, or ALL. Raises InvalidArgumentError in Docker's words."""
    found = set()
    for name in names:
        upper = name.upper()
        full = upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"
        if full != "ALL" and full not in ALL:
            raise InvalidArgumentError(f'invalid {option}: unknown capability: "{full}"')
        if full != "ALL" and full not in available:
            raise InvalidArgumentError(
                f"invalid {option}: capability not supported by your kernel or not available in the current "
                f'environment: "{full}"'
            )
        found.add(full)
    return found
