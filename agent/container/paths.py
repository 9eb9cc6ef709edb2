"""Paths of container files on this host: durable ones in the state directory, the others in the run directory (tmpfs)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class ContainerPaths(NamedTuple):
    """`cgroup_parent` is a path within every cgroup hierarchy."""

    state: Path
    run: Path
    cgroup_parent: str

    @property
    def database(self) -> Path:
        return self.state / "containers.db"

    @property
    def folders(self) -> Path:
        """One directory per container: upper, work, merged, its log, and its files of /etc."""
        return self.state / "containers"

    @property
    def bundles(self) -> Path:
        return self.run / "bundles"

    @property
    def exits(self) -> Path:
        return self.run / "exits"

    @property
    def execs(self) -> Path:
        return self.run / "execs"

    @property
    def frozen(self) -> Path:
        """A file for each container that a commit has paused, so that the next daemon thaws it."""
        return self.run / "frozen"

    @property
    def runtime_root(self) -> Path:
        return self.run / "runtime"

    def folder(self, container_id: str) -> Path:
        return self.folders / container_id

    def bundle(self, container_id: str) -> Path:
        return self.bundles / container_id

    def log(self, container_id: str) -> Path:
        return self.folder(container_id) / "container.log"

    def exit_file(self, container_id: str) -> Path:
        return self.exits / container_id

    def cgroup(self, container_id: str, parent: str = "") -> str:
        """The container's cgroup, below `parent` if the user gave one."""
        return f"/{(parent or self.cgroup_parent).strip('/')}/{container_id}"

    def create_directories(self) -> None:
        for path in (self.folders, self.bundles, self.exits, self.execs, self.frozen, self.runtime_root):
            path.mkdir(mode=0o711, parents=True, exist_ok=True)
