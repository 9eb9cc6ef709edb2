"""Validation of what a service asks of the kernel for its processes: capabilities, ulimits, sysctls, signals, hosts. Pure.

The agents trust these; a node refuses only what depends on its own kernel. Called by ``container_validation``.
"""

import ipaddress

from covey import capabilities
from covey.errors import InvalidArgumentError
from covey.objects import ContainerSpec
from covey.signals import parse_signal
from covey.sysctls import check_sysctl
from covey.ulimits import check_ulimit

MAX_OOM_SCORE_ADJ = 1000
HOST_GATEWAY = "host-gateway"


def require_process_settings(spec: ContainerSpec) -> None:
    """Refuses what no node could do.

    Raises:
        InvalidArgumentError: names the field and the value.
    """
    if abs(spec.oom_score_adj) > MAX_OOM_SCORE_ADJ:
        raise InvalidArgumentError(
            f"ContainerSpec: Invalid value {spec.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
    try:
        if spec.stop_signal:
            parse_signal(spec.stop_signal)
        for limit in spec.ulimits:
            check_ulimit(limit.name, limit.soft, limit.hard)
        for name in spec.sysctls:
            check_sysctl(name)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"ContainerSpec: {error.message}") from None
    _require_capabilities("CapabilityAdd", spec.capability_add)
    _require_capabilities("CapabilityDrop", spec.capability_drop)
    for line in spec.hosts:
        _require_host(line)


def _require_capabilities(field: str, names: tuple[str, ...]) -> None:
    for name in names:
        if capabilities.normal(name) not in {capabilities.ALL, *capabilities.KNOWN}:
            raise InvalidArgumentError(f'ContainerSpec: invalid {field}: unknown capability: "{name}"')


def _require_host(line: str) -> None:
    address, *names = line.split() or [""]
    if not names:
        raise InvalidArgumentError(f'ContainerSpec: Hosts: "{line}" needs the form ADDRESS NAME')
    if address == HOST_GATEWAY:
        return
    try:
        ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        raise InvalidArgumentError(f'ContainerSpec: Hosts: invalid IP address in "{line}"') from None
