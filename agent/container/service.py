"""Container service of this host: opening, adoption of running containers, closing, and the table of its commands.

Invariant: containers outlive this object; `open` adopts them (`agent.container.recovery`). Everything runs on one
asyncio loop; only unmounting and deleting use threads. Made by `agent.agent` and by tests.

To add a command, write it in a file of `agent.container.commands`, list it in `ContainerService`, and declare it in
`agent.container.api.Containers`.
"""

from __future__ import annotations

import functools

from agent.container import recovery
from agent.container.commands.attach import attach_container, note_detach, resize_terminal
from agent.container.commands.commit import frozen_layer, thaw_all
from agent.container.commands.create import create_container
from agent.container.commands.events import subscribe
from agent.container.commands.exec_process import (
    create_exec,
    inspect_exec,
    list_execs,
    resize_exec,
    run_hook,
    start_exec,
)
from agent.container.commands.files import export_files, list_changes, read_path, stat_path, write_path
from agent.container.commands.inspect import container_files, get_container, list_containers, log_path
from agent.container.commands.kill import kill_container
from agent.container.commands.logs import read_log_stream, read_logs
from agent.container.commands.networks import connect_network, disconnect_network, leave_network, publish_ports
from agent.container.commands.pause import pause_container, unpause_container
from agent.container.commands.remove import auto_remove, finish_removals, remove_container, remove_link
from agent.container.commands.rename import rename_container
from agent.container.commands.size import writable_bytes
from agent.container.commands.start import restart_container, start_container
from agent.container.commands.stats import read_stats
from agent.container.commands.stop import stop_container
from agent.container.commands.top import list_processes
from agent.container.commands.update import update_container
from agent.container.commands.volumes import remove_volume, volume_users
from agent.container.commands.wait import wait_container
from agent.container.host import ContainerHost
from agent.container.new_volumes import recover_volumes
from agent.runtime.inotify import IN_CLOSE_WRITE, IN_MOVED_TO


class ContainerService(ContainerHost):
    """Implements `agent.container.api.Containers`."""

    get = get_container
    list = list_containers
    log_path = log_path
    files = container_files
    subscribe = subscribe
    create = create_container
    rename = rename_container
    update = update_container
    remove = remove_container
    remove_link = remove_link
    start = start_container
    restart = restart_container
    stop = stop_container
    kill = kill_container
    pause = pause_container
    unpause = unpause_container
    wait = wait_container
    logs = read_logs
    log_stream = read_log_stream
    attach = attach_container
    note_detach = note_detach
    resize = resize_terminal
    connect_network = connect_network
    disconnect_network = disconnect_network
    leave_network = leave_network
    publish_ports = publish_ports
    exec_create = create_exec
    exec_start = start_exec
    exec_resize = resize_exec
    exec_inspect = inspect_exec
    list_execs = list_execs
    run_hook = run_hook
    top = list_processes
    writable_bytes = writable_bytes
    stat_path = stat_path
    read_path = read_path
    write_path = write_path
    export = export_files
    changes = list_changes
    frozen_layer = frozen_layer
    stats = read_stats
    volume_users = volume_users
    remove_volume = remove_volume

    async def open(self) -> None:
        """Adopt running containers, record exits that happened meanwhile, and remove leftovers."""
        self.paths.create_directories()
        self.compose(functools.partial(auto_remove, self))
        await self.tasks.open()
        self.inotify.watch(self.paths.exits, IN_MOVED_TO | IN_CLOSE_WRITE, self.exits.on_exit_file)
        self.is_open = True
        decisions = recovery.decide_recovery(self.index.load(), self.paths, self.runtimes)
        for decision in decisions:
            record = self.index.find(decision.container_id)
            if decision.exit_status is not None:
                await self.end_log(record)
            self.lifecycle.adopt(record, decision)
        alive = recovery.alive_ids(decisions)
        configs = [record.config for record in self.index.list()]
        await recovery.remove_leftovers(self.paths, self.runtimes, self.cgroups, configs, alive)
        await recover_volumes(self, alive)
        await thaw_all(self)
        await finish_removals(self)
        for record in self.index.list():
            self.shippers.ship(record)
            if record.config.auto_remove and recovery.has_ended(record.state):
                await auto_remove(self, record)
        self.tasks.spawn(self.rotator.run(), "log rotation")

    def start_by_policy(self) -> None:
        """Start the containers that their restart policy starts with the daemon; called once the networks are adopted."""
        self.tasks.spawn(self.restarts.start_with_daemon(), "restart policies")

    async def close(self) -> None:
        """Release everything; containers go on."""
        if not self.is_open:
            return
        self.is_open = False
        await self.tasks.close()
        self.events.close()
        self.volumes.events.close()
        for record in self.index.list():
            self.exits.unwatch(record)
        self.inotify.close()
        self.index.close()
