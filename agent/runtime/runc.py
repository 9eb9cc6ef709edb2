"""OCI runtime command line (runc, crun) for what conmon does not do: start, delete, pause, resume, update.

Invariant: every call has a deadline and its error carries the runtime's message; only exit codes are parsed. Called by
`agent.container`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from agent.runtime import process
from agent.runtime.errors import OciRuntimeError, clean_message

_TIMEOUT_SECONDS = 60.0


class OciRuntime(NamedTuple):
    """A runtime program, the directory of its state, and options that stand before every command."""

    program: str
    root: Path
    arguments: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """What stands between the program and a command."""
        return (*self.arguments, f"--root={self.root}")

    async def start(self, container_id: str) -> None:
        """Let the created container run the user's program."""
        await self._call("start", container_id)

    async def pause(self, container_id: str) -> None:
        await self._call("pause", container_id)

    async def resume(self, container_id: str) -> None:
        await self._call("resume", container_id)

    async def delete(self, container_id: str) -> None:
        """Kill the container and delete its runtime state. No error if there is none."""
        if self.has_plain_state and not (self.root / container_id).exists():  # as after each exit
            return
        await process.run(
            [self.program, *self.options, "delete", "--force", container_id], timeout_seconds=_TIMEOUT_SECONDS
        )

    @property
    def has_plain_state(self) -> bool:
        """Whether a container is nothing but processes, a cgroup and the directory ROOT/ID, as with runc and crun.

        Other runtimes may have a virtual machine or a proxy to end.
        """
        return Path(self.program).name in {"runc", "crun"}

    def forget(self, container_id: str) -> None:
        """Delete the plain state of a container whose processes have ended and whose cgroup is gone."""
        shutil.rmtree(self.root / container_id, ignore_errors=True)

    async def update(self, container_id: str, resources: dict[str, Any]) -> None:
        """Change the limits of a running container; `resources` is the OCI `resources` section."""
        await self._call("update", "--resources=-", container_id, stdin=json.dumps(resources).encode())

    def is_created(self, container_id: str) -> bool:
        """Whether the container is created and not started: its process waits on the runtime's fifo."""
        return (self.root / container_id / "exec.fifo").exists()

    async def _call(self, verb: str, *arguments: str, stdin: bytes = b"") -> None:
        result = await process.run(
            [self.program, *self.options, verb, *arguments], timeout_seconds=_TIMEOUT_SECONDS, stdin=stdin
        )
        if result.code != 0:
            raise OciRuntimeError(clean_message(result.error_message))
