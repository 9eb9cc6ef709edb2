"""A container, or a process started by exec, as ``docker inspect`` shows it."""

from typing import Any

from agent.container.model import (
    Container,
    ContainerConfig,
    ContainerMount,
    ExecState,
    HealthStatus,
    MountKind,
    RunStatus,
)
from covey.clock import SECOND
from engine.translate.container_networks import network_mode, network_settings
from engine.translate.json_fields import omit_empty, omit_none
from engine.translate.times import rfc3339


def inspect(container: Container, log_path: str, execs: list[str], engine_id: str) -> dict[str, Any]:
    """A container as ``docker inspect`` shows it."""
    config, state = container.config, container.state
    return {
        "Id": container.id,
        "Created": rfc3339(config.created_at_ns),
        "Path": config.args[0] if config.args else "",
        "Args": list(config.args[1:]),
        "State": _state(container),
        "Image": config.image_id,
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": log_path,
        "Name": f"/{container.name}",
        "RestartCount": state.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": execs or None,
        "HostConfig": _host_config(config),
        "GraphDriver": {"Name": "overlay2", "Data": None},
        "Mounts": [mount_point(mount) for mount in config.mounts],
        "Config": _config(config),
        "NetworkSettings": network_settings(container, engine_id, _ports(config)),
    }


def exec_inspect(state: ExecState) -> dict[str, Any]:
    """A process started by exec, as ``GET /exec/ID/json`` shows it."""
    config = state.config
    return {
        "ID": state.id,
        "Running": state.running,
        "ExitCode": state.exit_code,
        "ProcessConfig": {
            "tty": config.tty,
            "entrypoint": config.args[0] if config.args else "",
            "arguments": list(config.args[1:]),
            "privileged": config.privileged,
            **omit_empty(user=config.user),
        },
        "OpenStdin": config.attach_stdin,
        "OpenStderr": config.attach_stderr,
        "OpenStdout": config.attach_stdout,
        "CanRemove": False,
        "ContainerID": state.container_id,
        "DetachKeys": config.detach_keys,
        "Pid": state.pid,
    }


def _state(container: Container) -> dict[str, Any]:
    state = container.state
    result = {
        "Status": str(state.status),
        "Running": state.active,
        "Paused": state.status is RunStatus.PAUSED,
        "Restarting": state.status is RunStatus.RESTARTING,
        "OOMKilled": state.oom_killed,
        "Dead": state.status is RunStatus.DEAD,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": rfc3339(state.started_at_ns),
        "FinishedAt": rfc3339(state.finished_at_ns),
    }
    if state.health.status is not HealthStatus.NONE:
        result["Health"] = {
            "Status": str(state.health.status),
            "FailingStreak": state.health.failing_streak,
            "Log": [
                {
                    "Start": rfc3339(probe.start_ns),
                    "End": rfc3339(probe.end_ns),
                    "ExitCode": probe.exit_code,
                    "Output": probe.output,
                }
                for probe in state.health.log
            ],
        }
    return result


def _config(config: ContainerConfig) -> dict[str, Any]:
    health = config.healthcheck
    return {
        "Hostname": config.hostname,
        "Domainname": config.domainname,
        "User": config.user,
        "AttachStdin": config.attach_stdin,
        "AttachStdout": config.attach_stdout,
        "AttachStderr": config.attach_stderr,
        "Tty": config.tty,
        "OpenStdin": config.open_stdin,
        "StdinOnce": config.stdin_once,
        "Env": list(config.env),
        "Cmd": None if config.command is None else list(config.command),
        **omit_empty(
            Healthcheck=None
            if health is None
            else omit_empty(
                Test=list(health.test),
                Interval=int(health.interval_seconds * SECOND),
                Timeout=int(health.timeout_seconds * SECOND),
                Retries=health.retries,
                StartPeriod=int(health.start_period_seconds * SECOND),
                StartInterval=int(health.start_interval_seconds * SECOND),
            )
        ),
        "Image": config.image,
        "Volumes": None,
        "WorkingDir": config.working_dir,
        "Entrypoint": None if config.entrypoint is None else list(config.entrypoint),
        "OnBuild": None,
        "Labels": config.labels,
        "StopSignal": config.stop_signal,
        **omit_none(StopTimeout=None if config.stop_grace_seconds is None else int(config.stop_grace_seconds)),
    }


def _host_config(config: ContainerConfig) -> dict[str, Any]:
    limits = config.resources
    return {
        "Binds": [f"{mount.source}:{mount.target}" for mount in config.mounts if mount.kind is MountKind.BIND] or None,
        "NetworkMode": network_mode(config),
        "PortBindings": _ports(config),
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": config.auto_remove,
        "LogConfig": {"Type": "json-file", "Config": {}},
        "CapAdd": list(config.cap_add) or None,
        "CapDrop": list(config.cap_drop) or None,
        "Dns": list(config.dns),
        "DnsOptions": list(config.dns_options),
        "DnsSearch": list(config.dns_search),
        "ExtraHosts": list(config.extra_hosts) or None,
        "GroupAdd": list(config.groups) or None,
        "IpcMode": config.ipc_mode or "private",
        "PidMode": config.pid_mode,
        "UTSMode": config.uts_mode,
        "OomScoreAdj": limits.oom_score_adj,
        "Privileged": config.privileged,
        "ReadonlyRootfs": config.read_only,
        "SecurityOpt": (["no-new-privileges"] if config.no_new_privileges else []) or None,
        "Tmpfs": config.tmpfs or None,
        "ShmSize": config.shm_size_bytes,
        "Sysctls": config.sysctls or None,
        "Runtime": "runc",
        "Init": config.init,
        "Memory": limits.memory_bytes,
        "MemoryReservation": limits.memory_reservation_bytes,
        "MemorySwap": limits.memory_swap_bytes,
        "NanoCpus": limits.nano_cpus,
        "CpuShares": limits.cpu_shares,
        "CpuQuota": limits.cpu_quota_us,
        "CpuPeriod": limits.cpu_period_us,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "PidsLimit": limits.pids_limit or None,
        "Ulimits": [{"Name": item.name, "Soft": item.soft, "Hard": item.hard} for item in config.ulimits] or None,
        "Devices": [
            {
                "PathOnHost": item.host_path,
                "PathInContainer": item.container_path or item.host_path,
                "CgroupPermissions": item.permissions,
            }
            for item in config.devices
        ],
        "Isolation": "",
    }


def mount_point(mount: ContainerMount) -> dict[str, Any]:
    volume = mount.kind is MountKind.VOLUME
    return {
        "Type": str(mount.kind),
        **omit_empty(Name=mount.source if volume else "", Driver="local" if volume else ""),
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": "",
        "RW": not mount.read_only,
        "Propagation": mount.propagation if mount.kind is MountKind.BIND else "",
    }


def published_ports(config: ContainerConfig) -> list[tuple[str, str, str]]:
    """(``80/tcp``, host address, host port) of every published port."""
    found = []
    for item in config.networks:
        for port, host in item.ports.items():
            address, _, number = host.rpartition(":")
            found.append((port, address, number))
    return found


def _ports(config: ContainerConfig) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for port, address, number in published_ports(config):
        result.setdefault(port, []).append({"HostIp": address, "HostPort": number})
    return result
