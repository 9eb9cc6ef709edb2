"""Names of OCI runtimes: the built-in ones, those that the daemon's options add, and the rules for both. Pure.

Invariant: `runc` and its alias are always there and cannot be redefined, as in Docker. Used by the daemon's options, by
the check of a new container, and by the agent, which starts containers with them.
"""

from collections.abc import Mapping

import msgspec

from covey.errors import InvalidArgumentError

RUNC = "runc"
RUNC_SHIM = "io.containerd.runc.v2"
"""What containerd calls runc; Docker takes both names."""
BUILT_IN = (RUNC_SHIM, RUNC)


class RuntimeProgram(msgspec.Struct, frozen=True):
    """An OCI runtime: a program, by its path or its name on the PATH, and options before its command."""

    path: str
    arguments: tuple[str, ...] = ()


def programs(added: Mapping[str, RuntimeProgram]) -> dict[str, RuntimeProgram]:
    """All runtimes of a host, by name."""
    return {**{name: RuntimeProgram(RUNC) for name in BUILT_IN}, **added}


def find_program(name: str, added: Mapping[str, RuntimeProgram]) -> RuntimeProgram:
    """The runtime of this name. Raises InvalidArgumentError in Docker's words."""
    found = programs(added).get(name)
    if found is None:
        raise InvalidArgumentError(f"unknown or invalid runtime name: {name}")
    return found


def check_settings(added: Mapping[str, RuntimeProgram], default: str) -> None:
    """Raises InvalidArgumentError if a runtime has a reserved name, or the default one does not exist."""
    for name in BUILT_IN:
        if name in added:
            raise InvalidArgumentError(f"runtime name '{name}' is reserved")
    if default not in programs(added):
        raise InvalidArgumentError(f"specified default runtime '{default}' does not exist")
