"""Device cgroup rules as `docker run --device-cgroup-rule` takes them: `c 1:* rmw`. Pure."""

from __future__ import annotations

import re

from agent.runtime.oci_spec import DeviceRule
from covey.errors import InvalidArgumentError

_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")


def device_rule(text: str) -> DeviceRule:
    """Raises InvalidArgumentError in Docker's words."""
    match = _RULE.fullmatch(text)
    if match is None:
        raise InvalidArgumentError(f"invalid device cgroup rule format: '{text}'")
    kind, major, minor, permissions = match.groups()
    return DeviceRule(kind, _number(major), _number(minor), permissions)


def _number(text: str) -> int | None:
    return None if text == "*" else int(text)
