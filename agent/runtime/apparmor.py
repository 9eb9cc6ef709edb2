"""AppArmor: whether this host confines processes with it, and the profile of a container.

Invariant: a profile that the kernel cannot apply is refused, never left out. Called by `agent.container.bundle`.
"""

from __future__ import annotations

from pathlib import Path

from covey.errors import InvalidArgumentError, UnsupportedError

UNCONFINED = "unconfined"
DEFAULT_PROFILE = "docker-default"
_ENABLED = Path("sys/module/apparmor/parameters/enabled")
_PROFILES = Path("sys/kernel/security/apparmor/profiles")


def profile(wanted: str, *, privileged: bool, root: Path = Path("/")) -> str:
    """The profile that the runtime applies, "" for none.

    Without a wish it is Docker's default profile if that is loaded. A privileged container is not confined.
    """
    loaded = _loaded_profiles(root)
    if loaded is None:
        if wanted not in {"", UNCONFINED}:
            raise UnsupportedError(
                f"SecurityOpt apparmor={wanted}: the kernel of this host has no AppArmor; remove the option"
            )
        return ""
    if wanted == UNCONFINED:
        return UNCONFINED
    if wanted and wanted not in loaded:
        raise InvalidArgumentError(
            f"AppArmor profile {wanted} is not loaded on this host: load it with apparmor_parser"
        )
    if wanted or privileged:
        return wanted or UNCONFINED
    return DEFAULT_PROFILE if DEFAULT_PROFILE in loaded else ""


def _loaded_profiles(root: Path) -> frozenset[str] | None:
    """The names of the loaded profiles; None if the kernel does not use AppArmor."""
    try:
        if (root / _ENABLED).read_text().strip() != "Y":
            return None
        return frozenset(line.rpartition(" (")[0] for line in (root / _PROFILES).read_text().splitlines())
    except OSError:
        return None
