"""The OCI runtime's command line, for what conmon does not do: start, delete, pause, resume, update.

Law: every call has a deadline and gives its complaint back in an error; nothing is parsed but exit codes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from agent.runtime import conmon, process

_TIMEOUT_SECONDS = 60.0


class OciRuntime(NamedTuple):
    """A runtime program and the folder where it keeps its state."""

    program: str
    root: Path

    async def start(self, container_id: str) -> None:
        """Let the created process run the user's program."""
        await self._call("start", container_id)

    async def pause(self, container_id: str) -> None:
        await self._call("pause", container_id)

    async def resume(self, container_id: str) -> None:
        await self._call("resume", container_id)

    async def delete(self, container_id: str) -> None:
        """Kill what is left of it and forget it; fine when there is nothing."""
        await process.run(
            [self.program, f"--root={self.root}", "delete", "--force", container_id], timeout_seconds=_TIMEOUT_SECONDS
        )

    async def update(self, container_id: str, resources: dict[str, Any]) -> None:
        """Change limits of a running container; `resources` is the OCI section."""
        await self._call("update", "--resources=-", container_id, stdin=json.dumps(resources).encode())

    def container_ids(self) -> list[str]:
        """Ids that the runtime has state of."""
        return sorted(p.name for p in self.root.iterdir()) if self.root.is_dir() else []

    def is_created(self, container_id: str) -> bool:
        """Created but never started: its process still blocks on the runtime's fifo."""
        return (self.root / container_id / "exec.fifo").exists()

    async def _call(self, verb: str, *arguments: str, stdin: bytes = b"") -> None:
        finished = await process.run(
            [self.program, f"--root={self.root}", verb, *arguments], timeout_seconds=_TIMEOUT_SECONDS, stdin=stdin
        )
        if finished.code != 0:
            raise conmon.OciRuntimeError(conmon.clean_message(finished.error_message))
