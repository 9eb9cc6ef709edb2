"""br_netfilter, the kernel module by which bridged packets pass nftables. VIPs need it in the sandboxes of overlay networks.

Invariant: it stays off in the host's namespace if it is loaded here, so bridges of others work as before.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

SETTINGS = Path("/proc/sys/net/bridge")
_NAMES = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables")
_LOAD_SECONDS = 10.0


def load_module() -> None:
    """Ask the host to load the module. Raises OSError or SubprocessError."""
    subprocess.run(["modprobe", "br_netfilter"], check=True, capture_output=True, timeout=_LOAD_SECONDS)


def ensure(settings: Path = SETTINGS, load: Callable[[], None] = load_module) -> bool:
    """Load the module if it is missing, and turn it off in the namespace of the calling thread. Returns False on a host without it."""
    if settings.is_dir():
        return True
    try:
        load()
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning(
            "this host cannot load the kernel module br_netfilter, without which overlay networks fail: install it and start "
            "coveyd again: %s",
            error,
        )
        return False
    turn_off(settings)
    return settings.is_dir()


def turn_off(settings: Path = SETTINGS) -> None:
    """Keep bridged packets of the calling thread's namespace from nftables, whether or not the module is loaded."""
    for name in _NAMES:
        path = settings / name
        if path.exists():
            path.write_text("0")
