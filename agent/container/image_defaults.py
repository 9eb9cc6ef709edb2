"""Defaults that a container takes from its image, merged as Docker does: command line, environment, health check.

Invariant: pure. Used for single containers (`engine.translate.container_create`) and for tasks
(`agent.task.container_config`), so that both follow the same rules.
"""

from __future__ import annotations

from agent.container.model import HealthCheck
from agent.image.model import ImageConfig, ImageHealthcheck
from covey.clock import SECOND

Words = tuple[str, ...]


def command_line(
    entrypoint: Words | None, command: Words | None, image: ImageConfig
) -> tuple[Words | None, Words | None]:
    """Entrypoint and command. An entrypoint of the user drops the image's command; ("",) means no entrypoint at all."""
    if not entrypoint:
        command = command or image.cmd
        if entrypoint is None:
            entrypoint = image.entrypoint
    return (None if entrypoint == ("",) else entrypoint), command


def environment(own: Words, image_env: Words) -> Words:
    """The user's variables, then those of the image that the user did not name. `NAME` without `=` removes a variable."""
    named = {_variable(entry) for entry in own}
    return (*own, *(entry for entry in image_env if _variable(entry) not in named))


def healthcheck(own: HealthCheck | None, image: ImageHealthcheck | None) -> HealthCheck | None:
    """The health check, in which the image gives what the user left open. None if there is none."""
    if image is None:
        return own if own is not None and own.test else None
    own = own or HealthCheck()
    merged = HealthCheck(
        test=own.test or image.test,
        interval_seconds=own.interval_seconds or image.interval / SECOND,
        timeout_seconds=own.timeout_seconds or image.timeout / SECOND,
        retries=own.retries or image.retries,
        start_period_seconds=own.start_period_seconds or image.start_period / SECOND,
        start_interval_seconds=own.start_interval_seconds or image.start_interval / SECOND,
    )
    return merged if merged.test else None


def _variable(entry: str) -> str:
    return entry.partition("=")[0]
