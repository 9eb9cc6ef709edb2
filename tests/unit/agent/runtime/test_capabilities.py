"""Capability sets: Docker's defaults, --cap-add, --cap-drop and --privileged."""

from __future__ import annotations

import pytest

from agent.runtime import capabilities
from covey.errors import InvalidArgumentError


def bounding(add: tuple[str, ...] = (), drop: tuple[str, ...] = (), *, privileged: bool = False) -> set[str]:
    return set(capabilities.bounding_set(add, drop, privileged=privileged))


def test_capabilities_are_added_and_dropped_as_docker_does() -> None:
    assert bounding() == set(capabilities.DEFAULT)
    assert bounding(("sys_admin",), ("CAP_CHOWN",)) == set(capabilities.DEFAULT) - {"CAP_CHOWN"} | {"CAP_SYS_ADMIN"}
    assert bounding(("ALL",), ("MKNOD",)) == set(capabilities.ALL) - {"CAP_MKNOD"}
    assert bounding(("KILL",), ("ALL",)) == {"CAP_KILL"}


def test_a_privileged_container_has_all_capabilities_that_the_kernel_knows() -> None:
    assert bounding(privileged=True) == set(capabilities.ALL)
    assert capabilities.bounding_set((), (), privileged=True, available=capabilities.supported(0b101)) == (
        "CAP_CHOWN",
        "CAP_DAC_READ_SEARCH",
    )


def test_an_unknown_capability_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgumentError, match='invalid CapAdd: unknown capability: "CAP_NONSENSE"'):
        bounding(("NONSENSE",))
    with pytest.raises(InvalidArgumentError, match="invalid CapDrop: unknown"):
        bounding((), ("NONSENSE",))
    with pytest.raises(InvalidArgumentError, match='not available in the current environment: "CAP_BPF"'):
        capabilities.bounding_set(("BPF",), (), privileged=False, available=capabilities.supported(1))
