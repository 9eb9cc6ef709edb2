"""Image config of a commit: the container's configuration, a configuration that the client gives, and its changes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agent.container.model import ContainerConfig, HealthCheck
from agent.image.config_changes import apply_changes
from agent.image.model import ImageConfig, ImageHealthcheck
from covey.clock import SECOND

_replace = msgspec.structs.replace


def commit_config(container: ContainerConfig, given: ImageConfig | None, changes: Sequence[str]) -> ImageConfig:
    """The config of the new image. What the client leaves open comes from the container.

    As in a Dockerfile, a new ENTRYPOINT drops the command, unless CMD is among the changes too.
    """
    own = image_config(container)
    config = apply_changes(given or own, changes)
    instructions = {change.strip().partition(" ")[0].upper() for change in changes}
    if "ENTRYPOINT" in instructions and "CMD" not in instructions:
        config = _replace(config, cmd=None)
    return _merge(config, own)


def image_config(container: ContainerConfig) -> ImageConfig:
    """The defaults that containers of an image of this container get."""
    return ImageConfig(
        user=container.user,
        exposed_ports=container.exposed_ports,
        env=container.env,
        entrypoint=container.entrypoint,
        cmd=container.command,
        volumes=container.volume_paths,
        working_dir=container.working_dir,
        labels=container.labels,
        stop_signal=container.stop_signal,
        healthcheck=None if container.healthcheck is None else image_healthcheck(container.healthcheck),
        shell=container.shell,
        on_build=container.on_build,
    )


def _merge(config: ImageConfig, own: ImageConfig) -> ImageConfig:
    named = {entry.partition("=")[0] for entry in config.env}
    keeps_command = bool(config.entrypoint)
    return _replace(
        config,
        user=config.user or own.user,
        exposed_ports=tuple(sorted({*config.exposed_ports, *own.exposed_ports})),
        env=(*config.env, *(entry for entry in own.env if entry.partition("=")[0] not in named)),
        labels={**own.labels, **config.labels},
        cmd=config.cmd if keeps_command or config.cmd else own.cmd,
        entrypoint=own.entrypoint if config.entrypoint is None else config.entrypoint,
        healthcheck=config.healthcheck or own.healthcheck,
        working_dir=config.working_dir or own.working_dir,
        volumes=tuple(sorted({*config.volumes, *own.volumes})),
        stop_signal=config.stop_signal or own.stop_signal,
        shell=config.shell or own.shell,
        on_build=config.on_build,
    )


def image_healthcheck(check: HealthCheck) -> ImageHealthcheck:
    """The health check as an image config has it."""
    return ImageHealthcheck(
        test=check.test,
        interval=int(check.interval_seconds * SECOND),
        timeout=int(check.timeout_seconds * SECOND),
        start_period=int(check.start_period_seconds * SECOND),
        start_interval=int(check.start_interval_seconds * SECOND),
        retries=check.retries,
    )
