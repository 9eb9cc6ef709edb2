"""Device cgroup rules of docker run."""

from __future__ import annotations

import pytest

from agent.container.device_rules import device_rule
from agent.runtime.oci_spec import DeviceRule
from covey.errors import InvalidArgumentError


def test_a_star_stands_for_every_number() -> None:
    assert device_rule("c 1:* rmw") == DeviceRule("c", 1, None, "rmw")
    assert device_rule("a *:* r") == DeviceRule("a", None, None, "r")


@pytest.mark.parametrize("text", ["", "c 1:1", "d 1:1 r", "c 1:1 x", "c 1 r", "c x:1 r", "c 1:1 rwmr"])
def test_another_form_is_refused_in_dockers_words(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"invalid device cgroup rule format: '{text}'"):
        device_rule(text)
