"""Network sandboxes of all containers on this host, by container id: created, adopted after a restart, removed.

Invariant: a sandbox on disk is kept until it is removed by name or `remove_unused` finds that nobody adopted it.

Owned by `host_networks`, called on the driver's thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agent.network import links, netns
from agent.network.sandbox import Sandbox
from covey.errors import InvalidArgumentError, NotFoundError


class ContainerSandboxes:
    """The sandboxes that this process created or adopted. Iteration yields them in order of creation."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sandboxes: dict[str, Sandbox] = {}

    def __iter__(self) -> Iterator[Sandbox]:
        return iter(self._sandboxes.values())

    def __contains__(self, container_id: str) -> bool:
        return container_id in self._sandboxes

    def prepare(self) -> None:
        """Create the folder and remove files that are no namespace."""
        netns.prepare_folder(self._folder)

    def close(self) -> None:
        """Close the handles. The containers keep their networks."""
        for sandbox in self:
            sandbox.close()

    def get(self, container_id: str) -> Sandbox:
        """Raises NotFoundError when the container has no sandbox."""
        if container_id not in self._sandboxes:
            raise NotFoundError(f"container {container_id[:12]} has no network sandbox; create or adopt it first")
        return self._sandboxes[container_id]

    def open(self, container_id: str) -> Sandbox:
        """Create the sandbox, or open the one that is on disk. The caller registers it with `add` once it is ready."""
        _check_id(container_id)
        return Sandbox(container_id, self._folder / container_id)

    def open_existing(self, container_id: str) -> Sandbox:
        """The sandbox in memory, else the one on disk. Raises NotFoundError when there is neither."""
        _check_id(container_id)
        path = self._folder / container_id
        if not netns.is_namespace(path):
            raise NotFoundError(
                f"container {container_id[:12]} has no network namespace at {path}; it cannot be adopted"
            )
        return self._sandboxes.get(container_id) or Sandbox(container_id, path)

    def add(self, sandbox: Sandbox) -> None:
        self._sandboxes[sandbox.container_id] = sandbox

    def remove(self, container_id: str) -> Sandbox | None:
        """Remove the namespace and everything in it. Returns the sandbox if it was open."""
        _check_id(container_id)
        sandbox = self._sandboxes.pop(container_id, None)
        path = self._folder / container_id
        if sandbox is not None:
            sandbox.remove()
        elif path.exists():
            links.remove_namespace(path)
        return sandbox

    def paths(self) -> dict[str, Path]:
        """The namespace file of every container that has one on disk, open or not, sorted by container id."""
        return {path.name: path for path in sorted(self._folder.iterdir())}


def _check_id(container_id: str) -> None:
    """The id becomes a file name."""
    if not container_id or "/" in container_id or container_id.startswith("."):
        raise InvalidArgumentError(f"{container_id!r} is not a valid container id")
