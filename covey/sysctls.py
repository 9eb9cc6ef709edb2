"""Sysctls that a container can have of its own, because the kernel keeps them in its namespaces. Pure."""

from covey.errors import InvalidArgumentError

_PREFIXES = ("net.", "fs.mqueue.")
_NAMES = frozenset(
    f"kernel.{name}"
    for name in ("domainname", "msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)


def check_sysctl(name: str) -> None:
    """Refuses a sysctl of the whole host. Raises InvalidArgumentError in the runtime's words."""
    dotted = name.replace("/", ".")
    if dotted not in _NAMES and not dotted.startswith(_PREFIXES):
        raise InvalidArgumentError(f"sysctl '{name}' is not in a separate kernel namespace; set it on the hosts")
