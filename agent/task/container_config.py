"""Container configuration of a task: merges the task's spec, its image and its node. Pure: the same input gives the same container.

The service's spec and the image are merged by ``agent.container.image_defaults``: ``command`` is the entrypoint, ``args`` the command.
What Covey does not support yet is refused by name.

Called by ``agent.worker.executor``, which adds the network namespace and the files of secrets.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from agent.container import image_defaults
from agent.container.model import (
    ContainerConfig,
    ContainerMount,
    ContainerUlimit,
    DeviceMapping,
    HealthCheck,
    LogConfig,
    MountKind,
    NetworkRequest,
    PortBinding,
    PortChanges,
)
from agent.image.model import Image
from agent.runtime.limits import ResourceLimits
from covey import generic_resources
from covey.clock import SECOND
from covey.errors import InvalidArgumentError, UnsupportedError
from covey.objects import ContainerDevice, ContainerSpec, Driver, HealthConfig, PortConfig, Task
from covey.objects import Mount as MountSpec
from covey.placeholders import NodeFacts, expand, expand_entry, expand_mount, task_name
from covey.states import MountType, PublishMode

DEFAULT_LOG_BYTES = 32 << 20
"""Bound of a task's log whose driver's options set none: nobody removes the containers of a service by hand."""
_LABEL = "com.docker.swarm"
_OPTIONS_OF = {
    MountType.BIND: "BindOptions",
    MountType.VOLUME: "VolumeOptions",
    MountType.TMPFS: "TmpfsOptions",
    MountType.IMAGE: "ImageOptions",
}
_NO_MOUNT = MountSpec()
_DEFAULT_PROFILES = frozenset({"seccomp=builtin", "apparmor=docker-default"})


def container_config(task: Task, image: Image, node: NodeFacts, container_id: str, now_ns: int) -> ContainerConfig:
    """The container of a task, without its namespace and files. Raises InvalidArgumentError or UnsupportedError, which name the setting."""
    spec = task.spec.container
    entrypoint, command = image_defaults.command_line(spec.command or None, spec.args or None, image.config)
    args = (*(entrypoint or ()), *(command or ()))
    if not args:
        raise InvalidArgumentError(
            f"service {task.service_annotations.name}: no command: neither the service nor the image {spec.image} has one"
        )
    dns = spec.dns
    mounts = tuple(expand_mount(mount, task, node) for mount in spec.mounts)
    return ContainerConfig(
        id=container_id,
        name=task_name(task),
        image=spec.image,
        image_id=image.id,
        args=args,
        entrypoint=entrypoint,
        command=command,
        env=image_defaults.environment(_environment(task, node), image.config.env),
        working_dir=spec.dir or image.config.working_dir or "/",
        user=spec.user or image.config.user,
        groups=spec.groups,
        hostname=expand(spec.hostname, task, node) or container_id[:12],
        labels=labels(task, image),
        tty=spec.tty,
        open_stdin=spec.open_stdin,
        stop_signal=spec.stop_signal or image.config.stop_signal or "SIGTERM",
        stop_grace_seconds=None if spec.stop_grace_ns is None else spec.stop_grace_ns / SECOND,
        mounts=(*(_mount(mount) for mount in mounts), *_image_volumes(mounts, image)),
        resources=_resources(task),
        ulimits=tuple(ContainerUlimit(name=limit.name, soft=limit.soft, hard=limit.hard) for limit in spec.ulimits),
        cap_add=spec.capability_add,
        cap_drop=spec.capability_drop,
        no_new_privileges=spec.no_new_privileges,
        privileged=spec.privileged,
        devices=tuple(_device(device) for device in spec.devices),
        **_security(spec),
        read_only=spec.read_only,
        init=spec.init,
        sysctls=dict(spec.sysctls),
        dns=dns.nameservers if dns else (),
        dns_search=dns.search if dns else (),
        dns_options=dns.options if dns else (),
        extra_hosts=_extra_hosts(spec),
        requested_networks=_networks(task),
        in_mesh=_is_in_mesh(task),
        port_bindings=_port_bindings(task),
        healthcheck=image_defaults.healthcheck(
            healthcheck(spec.healthcheck) if spec.healthcheck else None, image.config.healthcheck
        ),
        log=_log(task.spec.log_driver or task.log_driver),
        log_max_bytes=DEFAULT_LOG_BYTES,
        created_at_ns=now_ns,
        task_id=task.id,
        service_id=task.service_id,
    )


def _environment(task: Task, node: NodeFacts) -> tuple[str, ...]:
    """The service's environment with its templates filled in, and what the task holds of its node."""
    entries = (expand_entry(entry, task, node) for entry in task.spec.container.env)
    return (*entries, *generic_resources.environment(task.generic_resources))


def _log(driver: Driver | None) -> LogConfig:
    return LogConfig(driver=driver.name, options=dict(driver.options)) if driver else LogConfig()


def labels(task: Task, image: Image) -> dict[str, str]:
    """The container's labels: the image's, the service's container labels, and those that identify the task."""
    return {
        **image.config.labels,
        **task.spec.container.labels,
        f"{_LABEL}.node.id": task.node_id,
        f"{_LABEL}.service.id": task.service_id,
        f"{_LABEL}.service.name": task.service_annotations.name,
        f"{_LABEL}.task": "",
        f"{_LABEL}.task.id": task.id,
        f"{_LABEL}.task.name": task_name(task),
    }


def healthcheck(spec: HealthConfig) -> HealthCheck:
    """The health check of the service; a zero leaves the choice to the image."""
    return HealthCheck(
        test=spec.test,
        interval_seconds=spec.interval_ns / SECOND,
        timeout_seconds=spec.timeout_ns / SECOND,
        retries=spec.retries,
        start_period_seconds=spec.start_period_ns / SECOND,
        start_interval_seconds=spec.start_interval_ns / SECOND,
    )


def _networks(task: Task) -> tuple[NetworkRequest, ...]:
    """The networks that the task's spec names. Its address on the ingress network is no interface of the container. Aliases of a service
    lead to the service, not to one task.
    """
    named = {config.target for config in task.spec.networks}
    return tuple(
        NetworkRequest(
            network=attachment.network_id,
            ip=attachment.address,
            ip6=attachment.address6,
            mac=attachment.mac,
            aliases=() if task.service_id else attachment.aliases,
        )
        for attachment in task.networks
        if attachment.network_id in named
    )


def port_changes(task: Task) -> PortChanges:
    """What a container of the task publishes."""
    return PortChanges(bindings=_port_bindings(task), in_mesh=_is_in_mesh(task))


def _is_in_mesh(task: Task) -> bool:
    ports = task.endpoint.ports if task.endpoint else ()
    return any(port.publish_mode is PublishMode.INGRESS for port in ports)


def _port_bindings(task: Task) -> dict[str, tuple[PortBinding, ...] | None]:
    """The ports that the task's node publishes for it alone (mode host)."""
    found: dict[str, tuple[PortBinding, ...] | None] = {}
    for port in task.endpoint.ports if task.endpoint else ():
        if port.publish_mode is PublishMode.HOST:
            name = f"{port.target_port}/{port.protocol.name.lower()}"
            number = str(port.published_port) if port.published_port else ""
            found[name] = (*(found.get(name) or ()), PortBinding(host_port=number))
    return found


def published_port_configs(config: ContainerConfig, task: Task) -> tuple[PortConfig, ...]:
    """The ports of mode host with the numbers that the node gave them, as the task's status reports them."""
    numbers: dict[str, list[int]] = {}
    for item in config.published:
        if item.host_port not in numbers.setdefault(item.port, []):
            numbers[item.port].append(item.host_port)
    found = []
    for port in task.endpoint.ports if task.endpoint else ():
        given = numbers.get(f"{port.target_port}/{port.protocol.name.lower()}")
        if port.publish_mode is PublishMode.HOST and given:
            number = port.published_port if port.published_port in given else given[0]
            given.remove(number)
            found.append(msgspec.structs.replace(port, published_port=number))
    return tuple(found)


def _device(device: ContainerDevice) -> DeviceMapping:
    return DeviceMapping(
        host_path=device.host_path, container_path=device.container_path, permissions=device.permissions
    )


def _security(spec: ContainerSpec) -> dict[str, Any]:
    """The security options that change something, and what they set. A service may also ask for the profiles that every container gets."""
    options = tuple(option for option in spec.security_options if option not in _DEFAULT_PROFILES)
    values: dict[str, Any] = {"security_options": options}
    for kind, value in (option.split("=", 1) for option in options):
        if kind == "seccomp":
            values["seccomp"] = value
        elif kind == "apparmor":
            values["apparmor_profile"] = value
    return values


def mounted_images(task: Task, node: NodeFacts) -> tuple[str, ...]:
    """The images that a task mounts, beside the one that it runs."""
    mounts = (mount for mount in task.spec.container.mounts if mount.type is MountType.IMAGE and mount.source)
    return tuple(dict.fromkeys(expand(mount.source, task, node) for mount in mounts))


def _mount(mount: MountSpec) -> ContainerMount:
    _require_paths(mount)
    if mount.type is MountType.BIND:
        return ContainerMount(
            kind=MountKind.BIND,
            target=mount.target,
            source=mount.source,
            read_only=mount.read_only,
            propagation=mount.propagation or "rprivate",
            non_recursive=mount.bind_non_recursive,
            create_source=mount.bind_create_mountpoint,
            read_only_non_recursive=mount.bind_read_only_non_recursive,
            read_only_force_recursive=mount.bind_read_only_force_recursive,
        )
    if mount.type is MountType.VOLUME:
        return ContainerMount(
            kind=MountKind.VOLUME,
            target=mount.target,
            source=mount.source,
            read_only=mount.read_only,
            no_copy=mount.volume_no_copy,
            subpath=mount.volume_subpath,
            driver_labels=dict(mount.volume_labels),
            driver=mount.volume_driver.name if mount.volume_driver else "",
            driver_options=dict(mount.volume_driver.options) if mount.volume_driver else {},
        )
    if mount.type is MountType.TMPFS:
        size = (f"size={mount.tmpfs_size_bytes}",) if mount.tmpfs_size_bytes else ()
        mode = (f"mode={mount.tmpfs_mode:o}",) if mount.tmpfs_mode else ()
        return ContainerMount(
            kind=MountKind.TMPFS,
            target=mount.target,
            options=(*size, *mode, *mount.tmpfs_options),
            read_only=mount.read_only,
        )
    if mount.type is MountType.IMAGE:
        return ContainerMount(
            kind=MountKind.IMAGE,
            target=mount.target,
            source=mount.source,
            read_only=mount.read_only,
            subpath=mount.image_subpath,
        )
    raise UnsupportedError(
        f"a mount of type {mount.type.name.lower()} at {mount.target} is not supported yet; use bind, volume, tmpfs or image"
    )


def _require_paths(mount: MountSpec) -> None:
    """Refuses paths that cannot be mounted, in Docker's words; the task is then rejected with them."""
    kind = mount.type.name.lower()
    prefix = f'invalid mount config for type "{kind}": '
    if not mount.target:
        raise InvalidArgumentError(f"{prefix}field Target must not be empty")
    if not mount.target.startswith("/"):
        raise InvalidArgumentError(f"{prefix}invalid mount path: '{mount.target}' mount path must be absolute")
    for owner, name in _OPTIONS_OF.items():
        fields = (field for field in MountSpec.__struct_fields__ if field.startswith(f"{owner.name.lower()}_"))
        if owner is not mount.type and any(getattr(mount, field) != getattr(_NO_MOUNT, field) for field in fields):
            raise InvalidArgumentError(f"{prefix}field {name} must not be specified")
    if mount.propagation and mount.type is not MountType.BIND:
        raise InvalidArgumentError(f"{prefix}field BindOptions must not be specified")
    if mount.type is MountType.BIND and not mount.source.startswith("/"):
        raise InvalidArgumentError(f"{prefix}invalid mount path: '{mount.source}' mount path must be absolute")
    if mount.type is MountType.IMAGE and not mount.source:
        raise InvalidArgumentError(f"{prefix}field Source must not be empty")
    if mount.type is MountType.TMPFS and mount.source:
        raise InvalidArgumentError(f"{prefix}field Source must not be specified")


def _image_volumes(mounts: Sequence[MountSpec], image: Image) -> tuple[ContainerMount, ...]:
    """Anonymous volumes for paths that the image declares and the service does not mount."""
    mounted = {mount.target.rstrip("/") for mount in mounts}
    return tuple(
        ContainerMount(kind=MountKind.VOLUME, target=path)
        for path in image.config.volumes
        if path.rstrip("/") not in mounted
    )


def _resources(task: Task) -> ResourceLimits:
    requirements = task.spec.resources
    limits = requirements.limits if requirements else None
    reservations = requirements.reservations if requirements else None
    return ResourceLimits(
        memory_bytes=limits.memory_bytes if limits else 0,
        nano_cpus=limits.nano_cpus if limits else 0,
        pids_limit=limits.pids if limits else 0,
        memory_reservation_bytes=reservations.memory_bytes if reservations else 0,
        oom_score_adj=task.spec.container.oom_score_adj,
    )


def _extra_hosts(spec: ContainerSpec) -> tuple[str, ...]:
    """Extra hosts: the service has lines ``ADDRESS NAME [NAME...]``, the container ``NAME:ADDRESS``."""
    lines = []
    for line in spec.hosts:
        address, *names = line.split()
        if not names:
            raise InvalidArgumentError(f'the host "{line}" needs the form ADDRESS NAME')
        lines += [f"{name}:{address}" for name in names]
    return tuple(lines)
