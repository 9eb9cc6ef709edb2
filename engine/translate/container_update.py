"""`POST /containers/{id}/update`: the limits and restart policy of a request, merged with those of the container."""

from typing import Any

import msgspec

from agent.container.model import ContainerConfig, RestartPolicy
from agent.runtime.limits import ResourceLimits
from covey.errors import ConflictError
from engine.translate.container_create.request import RESTART_POLICY, check_restart_policy
from engine.translate.json_fields import JsonFields
from engine.translate.resource_limits import read_limits


class ContainerUpdate(msgspec.Struct, frozen=True):
    """``limits`` are default where the request changes nothing, ``restart`` is None for the same policy as before."""

    limits: ResourceLimits
    restart: RestartPolicy | None


def read_update(body: Any) -> ContainerUpdate:
    """Raises InvalidArgumentError, which names the field."""
    fields = JsonFields(body)
    limits = read_limits(fields)
    restart = fields.read("RestartPolicy", RESTART_POLICY.read)
    fields.refuse_unsupported()
    if restart is not None and not restart.name:
        restart = None
    if restart is not None:
        check_restart_policy(restart)
    return ContainerUpdate(limits, restart)


def merge_limits(config: ContainerConfig, update: ContainerUpdate) -> ResourceLimits:
    """The container's limits with those of the request. Raises ConflictError in Docker's words."""
    old, new = config.resources, update.limits
    if config.auto_remove and update.restart is not None and update.restart.name != "no":
        raise ConflictError("Restart policy cannot be updated because AutoRemove is enabled for the container")
    conflicts = (
        (old.nano_cpus and new.cpu_period_us, "CPU Period", "NanoCPUs"),
        (old.nano_cpus and new.cpu_quota_us, "CPU Quota", "NanoCPUs"),
        (old.cpu_quota_us and new.nano_cpus, "NanoCPUs", "CPU Quota"),
        (old.cpu_period_us and new.nano_cpus, "NanoCPUs", "CPU Period"),
    )
    for conflict, changed, present in conflicts:
        if conflict:
            raise ConflictError(f"Conflicting options: {changed} cannot be updated as {present} has already been set")
    if new.memory_bytes and not new.memory_swap_bytes and 0 < old.memory_swap_bytes < new.memory_bytes:
        raise ConflictError(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    default = ResourceLimits()
    given = {name: value for name in new.__struct_fields__ if (value := getattr(new, name)) != getattr(default, name)}
    return msgspec.structs.replace(old, **given)
