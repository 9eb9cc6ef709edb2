"""The drivers of logs, networks and volumes that this host can use now, as the managers are told."""

from pathlib import Path

from agent.logs.sinks import JOURNAL
from covey.log_driver import DRIVER_NAMES, JOURNALD, NONE

_NETWORKS = ("bridge", "host", "ipvlan", "macvlan", "null", "overlay")
_VOLUMES = ("local",)


def engine_plugins(journal: Path = JOURNAL) -> tuple[str, ...]:
    """``TYPE/NAME`` of each driver. ``journald`` is one while the host has a journal."""
    logs = (name for name in DRIVER_NAMES if name != NONE and (name != JOURNALD or journal.exists()))
    return (
        *(f"Log/{name}" for name in sorted(logs)),
        *(f"Network/{name}" for name in _NETWORKS),
        *(f"Volume/{name}" for name in _VOLUMES),
    )
