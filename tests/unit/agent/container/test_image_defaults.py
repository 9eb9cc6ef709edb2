"""What a container takes from its image."""

from __future__ import annotations

import pytest

from agent.container.image_defaults import Words, command_line, environment, healthcheck
from agent.container.model import HealthCheck
from agent.image.model import ImageConfig, ImageHealthcheck

IMAGE = ImageConfig(entrypoint=("entry",), cmd=("cmd",))


@pytest.mark.parametrize(
    ("entrypoint", "command", "expected"),
    [
        (None, None, (("entry",), ("cmd",))),
        (None, (), (("entry",), ("cmd",))),
        (None, ("x",), (("entry",), ("x",))),
        ((), None, ((), ("cmd",))),
        (("own",), None, (("own",), None)),
        (("own",), ("x",), (("own",), ("x",))),
        (("",), None, (None, None)),
        (("",), ("x",), (None, ("x",))),
    ],
)
def test_the_command_line_is_merged_as_docker_does(
    entrypoint: Words | None, command: Words | None, expected: object
) -> None:
    assert command_line(entrypoint, command, IMAGE) == expected


def test_variables_of_the_user_hide_those_of_the_image() -> None:
    assert environment(("B=x", "C"), ("A=1", "B=2", "C=3")) == ("B=x", "C", "A=1")


def test_a_health_check_takes_from_the_image_what_it_leaves_open() -> None:
    image = ImageHealthcheck(test=("CMD", "true"), interval=5_000_000_000, retries=7)
    assert healthcheck(None, None) is None
    assert healthcheck(HealthCheck(retries=2), None) is None
    assert healthcheck(None, image) == HealthCheck(test=("CMD", "true"), interval_seconds=5.0, retries=7)
    own = HealthCheck(test=("NONE",), retries=1)
    assert healthcheck(own, image) == HealthCheck(test=("NONE",), interval_seconds=5.0, retries=1)
    assert healthcheck(own, None) == own
