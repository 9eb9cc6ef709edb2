"""`HostConfig` of a container as `docker inspect` shows it.

Invariant: what it shows can be given back to `POST /containers/create` and makes the same container; a test holds that.
"""

from typing import Any

from agent.container.model import ContainerConfig
from agent.runtime.oci_spec import MASKED_PATHS, READ_ONLY_PATHS
from covey.container_runtime import RUNC
from covey.log_driver import DEFAULT_DRIVER
from engine.translate.container_create.devices import DEVICE, ULIMIT
from engine.translate.container_create.request import RESTART_POLICY
from engine.translate.container_mounts import bind_strings, mount_specs
from engine.translate.json_fields import omit_empty, omit_none
from engine.translate.resource_limits import write_limits


def host_config(config: ContainerConfig, network_mode: str, port_bindings: dict[str, Any]) -> dict[str, Any]:
    """The whole object. ``network_mode`` is the mode in force."""
    return {
        "Binds": bind_strings(config.mounts),
        "ContainerIDFile": config.container_id_file,
        "LogConfig": {"Type": config.log.driver or DEFAULT_DRIVER, "Config": config.log.options},
        "NetworkMode": network_mode,
        "PortBindings": port_bindings,
        "RestartPolicy": RESTART_POLICY.write(config.restart),
        "AutoRemove": config.auto_remove,
        "VolumeDriver": config.volume_driver,
        "VolumesFrom": list(config.volumes_from) or None,
        "ConsoleSize": list(config.console_size),
        **omit_empty(Annotations=config.annotations or None),
        **_namespaces(config),
        **_security(config),
        "Dns": list(config.dns),
        "DnsOptions": list(config.dns_options),
        "DnsSearch": list(config.dns_search),
        "ExtraHosts": list(config.extra_hosts) or None,
        "Links": list(config.links) or None,
        "PublishAllPorts": config.publish_all_ports,
        **omit_empty(
            StorageOpt=config.storage_options or None,
            Tmpfs=config.tmpfs or None,
            Sysctls=config.sysctls or None,
            Mounts=mount_specs(config.mounts),
        ),
        "ShmSize": config.shm_size_bytes,
        "Runtime": config.runtime or RUNC,
        "Isolation": config.isolation,
        "CgroupParent": config.cgroup_parent,
        "Devices": [DEVICE.write(item) for item in config.devices],
        "DeviceCgroupRules": list(config.device_cgroup_rules) or None,
        "DeviceRequests": None,
        **write_limits(config.resources),
        "Ulimits": [ULIMIT.write(item) for item in config.ulimits],
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
        **omit_none(Init=config.init),
    }


def _namespaces(config: ContainerConfig) -> dict[str, Any]:
    return {
        "CgroupnsMode": config.cgroupns_mode,
        "IpcMode": config.ipc_mode or "private",
        "Cgroup": "",
        "PidMode": config.pid_mode,
        "UTSMode": config.uts_mode,
        "UsernsMode": config.userns_mode,
    }


def _security(config: ContainerConfig) -> dict[str, Any]:
    options = config.security_options or (("no-new-privileges",) if config.no_new_privileges else ())
    return {
        "CapAdd": list(config.cap_add) or None,
        "CapDrop": list(config.cap_drop) or None,
        "GroupAdd": list(config.groups) or None,
        "Privileged": config.privileged,
        "ReadonlyRootfs": config.read_only,
        "SecurityOpt": list(options) or None,
        "MaskedPaths": _paths(config, config.masked_paths, MASKED_PATHS),
        "ReadonlyPaths": _paths(config, config.read_only_paths, READ_ONLY_PATHS),
    }


def _paths(config: ContainerConfig, own: tuple[str, ...] | None, default: tuple[str, ...]) -> list[str] | None:
    if own is not None:
        return list(own)
    return None if config.privileged else list(default)
