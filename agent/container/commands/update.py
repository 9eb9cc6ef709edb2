"""`docker update`: new resource limits, which a running container gets at once, and another restart policy."""

from __future__ import annotations

import msgspec

from agent.container import devices
from agent.container.host import ContainerHost
from agent.container.model import Container, RestartPolicy
from agent.runtime import cgroup
from agent.runtime.limits import ResourceLimits, oci_resources


async def update_container(
    host: ContainerHost, ref: str, resources: ResourceLimits, restart: RestartPolicy | None = None
) -> Container:
    """Replace the limits, and the restart policy if one is given.

    Raises UnsupportedError if the host lacks a cgroup controller for one of the limits.
    """
    record = host.index.find(ref)
    cgroup.require_controllers(resources, host.cgroups)
    async with record.lock:
        config = msgspec.structs.replace(record.config, resources=resources, restart=restart or record.config.restart)
        if record.state.running and resources != record.config.resources:
            numbers = devices.block_device_numbers(resources.block_devices)
            section = oci_resources(resources, swap_limits=host.cgroups.swap, devices=numbers)
            await host.runtimes.of(config.id).update(config.id, section)
        host.index.set_config(record, config)
        host.index.emit(record, "update")
    return record.snapshot()
