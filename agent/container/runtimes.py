"""OCI runtimes of this host: the one that a container starts with, and the one that a running container was started with.

Invariant: a run keeps its runtime. Its program and options are written to the bundle before the container is created, so
a reload of the settings or a new daemon controls running containers with what started them. Called by
`agent.container.lifecycle`, `execs`, `exit_watcher`, `recovery` and commands.
"""

from __future__ import annotations

import re
import shutil

import msgspec

from agent.container.model import ContainerConfig
from agent.container.paths import ContainerPaths
from agent.runtime.errors import OciRuntimeError
from agent.runtime.runc import OciRuntime
from covey import container_runtime
from covey.container_runtime import RuntimeProgram
from covey.engine_settings import LiveSettings

_FILE = "runtime.json"
_ID = re.compile(r"[0-9a-f]{64}")


class ContainerRuntimes:
    """Finds the runtime of each container."""

    def __init__(self, paths: ContainerPaths, settings: LiveSettings) -> None:
        self._paths = paths
        self._settings = settings

    def for_start(self, config: ContainerConfig) -> OciRuntime:
        """The runtime that a new run uses, recorded in its bundle.

        Raises InvalidArgumentError for a runtime that is no longer configured, OciRuntimeError for one that is not installed.
        """
        settings = self._settings.current
        name = config.runtime or settings.default_runtime
        program = container_runtime.find_program(name, settings.runtimes)
        path = shutil.which(program.path)
        if path is None:
            raise OciRuntimeError(
                f"unable to retrieve OCI runtime error: runtime {name}: fork/exec {program.path}: it is not installed; "
                "install it, or change the daemon's runtimes"
            )
        found = RuntimeProgram(path, program.arguments)
        (self._paths.bundle(config.id) / _FILE).write_bytes(msgspec.json.encode(found))
        return self._runtime(found)

    def of(self, container_id: str) -> OciRuntime:
        """The runtime of a run that has begun; runc if nothing was recorded."""
        try:
            data = (self._paths.bundle(container_id) / _FILE).read_bytes()
            return self._runtime(msgspec.json.decode(data, type=RuntimeProgram))
        except (OSError, msgspec.DecodeError):
            return self._runtime(RuntimeProgram(shutil.which(container_runtime.RUNC) or container_runtime.RUNC))

    def container_ids(self) -> list[str]:
        """Ids of the containers that any runtime has state of; crun has a cache beside them."""
        root = self._paths.runtime_root
        return sorted(path.name for path in root.iterdir() if _ID.fullmatch(path.name)) if root.is_dir() else []

    def _runtime(self, program: RuntimeProgram) -> OciRuntime:
        return OciRuntime(program.path, self._paths.runtime_root, program.arguments)
