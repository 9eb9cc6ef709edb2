"""A container, or a process started by exec, as ``docker inspect`` shows it."""

from typing import Any

from agent.container.model import (
    Container,
    ContainerConfig,
    ContainerFiles,
    ExecState,
    HealthStatus,
    RunStatus,
)
from covey.clock import SECOND
from engine.translate import container_ports
from engine.translate.container_host_config import host_config
from engine.translate.container_mounts import VolumePath, mount_point
from engine.translate.container_networks import network_mode, network_settings
from engine.translate.json_fields import omit_empty, omit_none
from engine.translate.times import rfc3339


def inspect(
    container: Container, files: ContainerFiles, execs: list[str], engine_id: str, volume_path: VolumePath
) -> dict[str, Any]:
    """A container as ``docker inspect`` shows it."""
    config, state = container.config, container.state
    return {
        "Id": container.id,
        "Created": rfc3339(config.created_at_ns),
        "Path": config.args[0] if config.args else "",
        "Args": list(config.args[1:]),
        "State": _state(container),
        "Image": config.image_id,
        "ResolvConfPath": files.resolv_conf,
        "HostnamePath": files.hostname,
        "HostsPath": files.hosts,
        "LogPath": files.log,
        "Name": f"/{container.name}",
        "RestartCount": state.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": config.apparmor_profile,
        "ExecIDs": execs or None,
        "HostConfig": host_config(config, network_mode(config), container_ports.requested(config)),
        "GraphDriver": {
            "Data": {
                "ID": container.id,
                "LowerDir": files.lower,
                "MergedDir": files.merged,
                "UpperDir": files.upper,
                "WorkDir": files.work,
            },
            "Name": "overlay2",
        },
        "Mounts": [mount_point(mount, volume_path) for mount in config.mounts],
        "Config": _config(config),
        "NetworkSettings": network_settings(container, engine_id, container_ports.published(container)),
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
        **omit_none(ExposedPorts={port: {} for port in config.exposed_ports} or None),
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
        "Volumes": {path: {} for path in config.volume_paths} or None,
        "WorkingDir": config.working_dir,
        "Entrypoint": None if config.entrypoint is None else list(config.entrypoint),
        **omit_empty(NetworkDisabled=config.network_disabled),
        **omit_empty(MacAddress=_given_mac(config)),
        "OnBuild": list(config.on_build) or None,
        "Labels": config.labels,
        **omit_empty(StopSignal=config.stop_signal),
        **omit_none(StopTimeout=None if config.stop_grace_seconds is None else int(config.stop_grace_seconds)),
        **omit_empty(Shell=list(config.shell)),
    }


def _given_mac(config: ContainerConfig) -> str:
    """The hardware address that the user asked for."""
    return "" if config.task_id else next((request.mac for request in config.requested_networks if request.mac), "")
