"""Shared parts of the container service: paths, runtimes, index, lifecycle, execs, volumes, events.

`ContainerService` is a `ContainerHost` plus its commands; every function in `agent.container.commands` takes the host as
its first argument. Invariant: the parts below the line exist from `compose` on, that is, once the service is open.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.background_tasks import BackgroundTasks
from agent.container import log_config
from agent.container.api import ContainerNetworks, ImageRootfs
from agent.container.bundle import BundleBuilder
from agent.container.execs import Execs
from agent.container.exit_watcher import ExitWatcher
from agent.container.health_monitor import HealthMonitor
from agent.container.index import ContainerIndex
from agent.container.lifecycle import Lifecycle
from agent.container.log_shipping import LogShippers
from agent.container.model import ContainerConfig, ContainerEvent
from agent.container.paths import ContainerPaths
from agent.container.record import ContainerRecord
from agent.container.restarts import Restarts
from agent.container.runtimes import ContainerRuntimes
from agent.container.store import ContainerStore
from agent.event_bus import EventBus
from agent.logs.rotation import LogRotator, RunningLog
from agent.runtime import cgroup, conmon
from agent.runtime.inotify import Inotify
from agent.volume.local import VolumeStore
from covey.engine_settings import LiveSettings


class ContainerHost:
    """`state_dir` is durable, `run_dir` is on a tmpfs; cgroups of containers are created below `cgroup_parent`."""

    def __init__(
        self,
        state_dir: Path,
        run_dir: Path,
        cgroup_parent: str,
        images: ImageRootfs,
        networks: ContainerNetworks,
        *,
        settings: LiveSettings | None = None,
        conmon_program: str = "conmon",
    ) -> None:
        self.paths = ContainerPaths(state_dir, run_dir, cgroup_parent)
        self.volumes = VolumeStore(state_dir / "volumes")
        self.images = images
        self.networks = networks
        self.events = EventBus[ContainerEvent]()
        self.tasks = BackgroundTasks("containers")
        self.is_open = False
        self.settings = settings or LiveSettings()
        self.runtimes = ContainerRuntimes(self.paths, self.settings)
        self.conmon = conmon.Conmon(self.paths.exits, conmon_program)
        # ---- made by `compose`
        self.cgroups: cgroup.CgroupLayout
        self.index: ContainerIndex
        self.bundles: BundleBuilder
        self.execs: Execs
        self.exits: ExitWatcher
        self.lifecycle: Lifecycle
        self.shippers: LogShippers
        self.restarts: Restarts
        self.rotator: LogRotator
        self.inotify: Inotify

    def compose(self, auto_remove: Callable[[ContainerRecord], Awaitable[None]]) -> None:
        """Open the database and make the parts that depend on it and on the host's cgroups."""
        self.cgroups = cgroup.detect()
        self.index = ContainerIndex(ContainerStore(self.paths.database), self.events)
        self.bundles = BundleBuilder(self.paths, self.cgroups, self.volumes, self.images, self.settings)
        self.execs = Execs(
            self.paths,
            self.conmon,
            self.runtimes,
            self.tasks,
            self.bundles,
            notify=self.index.emit_exec,
            with_links=self._with_links,
        )
        self.restarts = Restarts(
            self.index, self.tasks, lambda record, counts: self.lifecycle.start(record, by_policy=counts)
        )
        self.rotator = LogRotator(self._running_logs)
        self.exits = ExitWatcher(
            paths=self.paths,
            index=self.index,
            runtimes=self.runtimes,
            bundles=self.bundles,
            cgroups=self.cgroups,
            networks=self.networks,
            health=HealthMonitor(self.index, self.tasks, self.execs.probe),
            tasks=self.tasks,
            restart=self.restarts.schedule,
            auto_remove=auto_remove,
            forget_execs=self.execs.remove_all,
            end_log=self.end_log,
        )
        self.shippers = LogShippers(self.paths, self.tasks, lambda: self.inotify)
        self.lifecycle = Lifecycle(
            paths=self.paths,
            index=self.index,
            runtimes=self.runtimes,
            conmon=self.conmon,
            bundles=self.bundles,
            images=self.images,
            networks=self.networks,
            cgroups=self.cgroups,
            exits=self.exits,
            shippers=self.shippers,
            begin_log=self.begin_log,
        )
        self.inotify = Inotify()

    async def begin_log(self, record: ContainerRecord) -> None:
        """Keep the log from its first line on."""
        if (log := self._log(record)) is not None:
            await self.rotator.begin(log)

    async def end_log(self, record: ContainerRecord) -> None:
        """Complete the files of the log of a container that has ended."""
        if (log := self._log(record)) is not None:
            await self.rotator.end(log)

    def _running_logs(self) -> tuple[RunningLog, ...]:
        logs = (self._log(record) for record in self.index.list() if record.state.running)
        return tuple(log for log in logs if log is not None)

    def _log(self, record: ContainerRecord) -> RunningLog | None:
        """The log's files; None if the log driver keeps nothing."""
        plan, container_id = log_config.plan(record.config), record.config.id
        if not plan.keep:
            return None
        return RunningLog(
            self.paths.log(container_id),
            self.paths.bundle(container_id),
            plan.max_bytes,
            plan.max_files,
            plan.compress and not plan.sent_to,
        )

    def _with_links(self, config: ContainerConfig) -> ContainerConfig:
        """The configuration with the variables of links; `lifecycle` exists once the service is open."""
        return self.lifecycle.networks.with_links(config)
