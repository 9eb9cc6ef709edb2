"""The labels for privileged services and devices, and the cluster's policy on them."""

import pytest

from covey.errors import InvalidArgumentError
from covey.objects import Annotations, ContainerDevice, ContainerSpec, ServiceSpec, TaskSpec
from covey.privilege_policy import ALLOW_DEVICES_LABEL, check_policy, is_allowed
from covey.service_options.privileges import parse_devices, parse_privileged


def spec(name: str, image: str = "tools/backup:1", **labels: str) -> ServiceSpec:
    return ServiceSpec(
        annotations=Annotations(name=name, labels=labels), task=TaskSpec(container=ContainerSpec(image=image))
    )


def test_devices_have_a_path_in_the_container_and_permissions() -> None:
    assert parse_devices("/dev/ttyUSB0; /dev/snd:/dev/sound:rw ;/dev/fuse:r") == (
        ContainerDevice(host_path="/dev/ttyUSB0", container_path="/dev/ttyUSB0", permissions="rwm"),
        ContainerDevice(host_path="/dev/snd", container_path="/dev/sound", permissions="rw"),
        ContainerDevice(host_path="/dev/fuse", container_path="/dev/fuse", permissions="r"),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/etc/passwd", "not a path below /dev"),
        ("/dev/../etc/passwd", "not a path below /dev"),
        ("/dev/fuse:rx", "not made of r, w and m"),
        ("/dev/fuse:/dev/a:/dev/b", "too many parts"),
        ("/dev/a:/dev/x;/dev/b:/dev/x", "/dev/x is named twice"),
    ],
)
def test_a_malformed_device_is_refused_with_the_label(text: str, reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"label covey.devices: .*{reason}"):
        parse_devices(text)


def test_privileged_is_true_or_false() -> None:
    assert (parse_privileged("true"), parse_privileged("false")) == (True, False)
    with pytest.raises(InvalidArgumentError, match="label covey.privileged: 'yes' is neither true nor false"):
        parse_privileged("yes")


@pytest.mark.parametrize(
    ("selectors", "allowed"),
    [
        ("", False),
        ("service=backup-*", True),
        ("service=backup", False),
        ("image=tools/*", True),
        ("label=team=lab", True),
        ("label=team=l*", False),
        ("service=other; label=team=lab", True),
    ],
)
def test_a_policy_names_services_images_or_labels(selectors: str, allowed: bool) -> None:
    digest = "tools/backup:1@sha256:" + 64 * "0"
    assert (
        is_allowed(ALLOW_DEVICES_LABEL, {ALLOW_DEVICES_LABEL: selectors}, spec("backup-1", digest, team="lab"))
        is allowed
    )


@pytest.mark.parametrize("text", ["backup", "node=a", "label=team", "service="])
def test_a_malformed_policy_is_refused_with_its_label(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="the cluster label covey.allow.devices: .* is no selector"):
        check_policy({ALLOW_DEVICES_LABEL: text})
