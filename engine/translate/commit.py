"""Body of ``POST /commit``: the container configuration that replaces the container's own in the new image."""

from typing import Any

from agent.container.commit_config import image_healthcheck
from agent.image.model import ImageConfig
from engine.translate.container_create.config import read_config
from engine.translate.json_fields import JsonFields, is_zero


def read_image_config(body: Any) -> ImageConfig | None:
    """The given configuration; None if there is none. Fields that no image keeps, such as the host name, are checked only."""
    if is_zero(body):
        return None
    fields = JsonFields(body)
    config = read_config(fields)
    fields.refuse_unsupported()
    return ImageConfig(
        user=config.user,
        exposed_ports=config.exposed_ports,
        env=config.env,
        entrypoint=config.entrypoint,
        cmd=config.command,
        volumes=config.volumes,
        working_dir=config.working_dir,
        labels=config.labels,
        stop_signal=config.stop_signal,
        healthcheck=None if config.healthcheck is None else image_healthcheck(config.healthcheck),
        shell=config.shell,
        on_build=config.on_build,
    )
