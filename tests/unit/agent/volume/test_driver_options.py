"""Options of the local volume driver: Docker's refusals, and the mount that they describe."""

from __future__ import annotations

import pytest

from agent.volume.driver_options import VolumeMount, check_options, plan_mount
from covey.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"foo": "1"}, 'create data: invalid option: "foo"'),
        ({"type": "tmpfs"}, 'create data: missing required option: "device"'),
        ({"o": "size=1m"}, 'create data: missing required option: "device"'),
        ({"device": "x"}, 'create data: missing required option: "type"'),
        ({"size": "10m"}, "create data: quota size requested but no quota support"),
    ],
)
def test_refusals_have_the_words_of_docker(options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_options("data", options)
    assert caught.value.message == message


def test_words_of_o_are_flags_or_data() -> None:
    plan = plan_mount({"type": "nfs", "device": ":/export", "o": "addr=files.example,ro,nosuid,vers=4,suid"})
    assert plan == VolumeMount(":/export", "nfs", 1, "addr=files.example,vers=4")
    assert plan.is_remote
    assert plan.server == "files.example"


def test_a_bind_is_a_flag_and_loop_a_wish() -> None:
    bind = plan_mount({"type": "none", "device": "/srv", "o": "bind"})
    assert bind is not None
    assert bind.is_bind
    loop = plan_mount({"type": "ext4", "device": "/srv/image", "o": "loop,noatime"})
    assert loop is not None
    assert (loop.loop, loop.flags, loop.data) == (True, 1024, "")


def test_a_volume_without_options_is_a_directory() -> None:
    assert plan_mount({}) is None
    check_options("data", {})
