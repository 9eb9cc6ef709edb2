"""`docker create`: checks, volumes and the record of a new container. Nothing runs yet."""

from __future__ import annotations

import re
import time

import msgspec

from agent.container import namespaces
from agent.container.default_settings import with_daemon_defaults
from agent.container.host import ContainerHost
from agent.container.links import check_links
from agent.container.model import Container, ContainerConfig
from agent.container.new_volumes import new_volumes
from agent.runtime.limits import effective_swap_bytes
from covey import signals
from covey.errors import InvalidArgumentError, NotFoundError

_ID = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}")


async def create_container(host: ContainerHost, config: ContainerConfig) -> Container:
    """Record the container and create its directory and volumes. Refuses what this host can never run."""
    config = with_daemon_defaults(config, host.settings.current)
    _check(host, config)
    _check_joined(host, config)
    host.images.layers(config.image_id)  # raises NotFoundError for an unknown image
    host.index.check_name(config)
    async with new_volumes(host, _with_defaults(host, config)) as config:
        host.paths.folder(config.id).mkdir(mode=0o711, parents=True, exist_ok=True)
        record = host.index.add(config)
    host.index.emit(record, "create")
    return record.snapshot()


def _with_defaults(host: ContainerHost, config: ContainerConfig) -> ContainerConfig:
    """The configuration with what the host decides; later inspections show it."""
    limits = config.resources
    if limits.memory_bytes > 0 and not limits.memory_swap_bytes and host.cgroups.swap:
        limits = msgspec.structs.replace(limits, memory_swap_bytes=effective_swap_bytes(limits))
    return msgspec.structs.replace(
        config,
        resources=limits,
        ipc_mode=config.ipc_mode or namespaces.PRIVATE,
        cgroupns_mode=namespaces.cgroup_namespace_mode(config, host.cgroups.version),
        created_at_ns=config.created_at_ns or time.time_ns(),
    )


def check_name(name: str) -> None:
    """Raises InvalidArgumentError with Docker's message."""
    if not _NAME.fullmatch(name):
        raise InvalidArgumentError(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


def _check(host: ContainerHost, config: ContainerConfig) -> None:
    if not _ID.fullmatch(config.id):
        raise InvalidArgumentError(f"container id {config.id!r} must be 64 hexadecimal digits")
    check_name(config.name)
    if not config.args:
        raise InvalidArgumentError("no command specified: give one, or an image that has one")
    if ".." in config.cgroup_parent.split("/") or "\0" in config.cgroup_parent:
        raise InvalidArgumentError(f"invalid cgroup parent {config.cgroup_parent!r}: it must be a path without ..")
    signals.parse_signal(config.stop_signal or "SIGTERM")
    host.bundles.check_host_support(config)


def _check_joined(host: ContainerHost, config: ContainerConfig) -> None:
    """The containers that this one joins exist. Not found is no NotFoundError here: clients would pull the image."""
    check_links(config, lambda ref: host.index.find(ref).snapshot())
    for mode in (config.pid_mode, config.ipc_mode):
        ref = namespaces.joined_container(mode)
        if not ref:
            continue
        try:
            host.index.find(ref)
        except NotFoundError as error:
            raise InvalidArgumentError(error.message) from None
