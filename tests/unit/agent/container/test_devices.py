"""Device nodes of a container, as the host's /dev has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.container import devices
from agent.container.model import ContainerConfig, DeviceMapping
from covey.errors import InvalidArgumentError


def nodes(*mapped: DeviceMapping, privileged: bool = False) -> dict[str, tuple[str, int, int, str]]:
    config = ContainerConfig(
        id="a" * 64, name="n", image="i", image_id="x", args=("run",), devices=mapped, privileged=privileged
    )
    return {node.path: (node.kind, node.major, node.minor, node.permissions) for node in devices.device_nodes(config)}


def test_a_device_keeps_its_numbers_under_another_name() -> None:
    assert nodes(DeviceMapping(host_path="/dev/null", container_path="/dev/own", permissions="r")) == {
        "/dev/own": ("c", 1, 3, "r")
    }


def test_a_privileged_container_has_all_devices_and_those_that_it_maps() -> None:
    found = nodes(DeviceMapping(host_path="/dev/null", container_path="/dev/own"), privileged=True)
    assert {"/dev/zero", "/dev/null", "/dev/own"} <= set(found)


def test_a_directory_stands_for_the_devices_in_it() -> None:
    folder = DeviceMapping(host_path="/dev", container_path="/devices")
    assert nodes(folder)["/devices/null"] == ("c", 1, 3, "rwm")


def test_what_is_no_device_is_refused_by_its_path(tmp_path: Path) -> None:
    for path, words in (
        ("/dev/none-such", "No such file"),
        ("/etc/passwd", "not a device node"),
        (str(tmp_path), "no device nodes"),
    ):
        with pytest.raises(InvalidArgumentError, match=words):
            nodes(DeviceMapping(host_path=path))
    with pytest.raises(InvalidArgumentError, match="/dev/null is not a block device"):
        devices.block_device_numbers(("/dev/null",))
