"""`docker update`: new resource limits, which a running container gets at once."""

from __future__ import annotations

import msgspec

from agent.container import devices
from agent.container.host import ContainerHost
from agent.container.model import Container
from agent.runtime import cgroup
from agent.runtime.limits import ResourceLimits, oci_resources


async def update_limits(host: ContainerHost, ref: str, resources: ResourceLimits) -> Container:
    """Replace the limits. Raises UnsupportedError if the host lacks a cgroup controller for one of them."""
    record = host.index.find(ref)
    cgroup.require_controllers(resources, host.cgroups)
    async with record.lock:
        config = msgspec.structs.replace(record.config, resources=resources)
        if record.state.running:
            numbers = devices.block_device_numbers(resources.block_devices)
            section = oci_resources(resources, swap_limits=host.cgroups.swap, devices=numbers)
            await host.runtime.update(config.id, section)
        host.index.set_config(record, config)
        host.index.emit(record, "update")
    return record.snapshot()
