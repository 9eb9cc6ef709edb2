"""Who a container's process is."""

from __future__ import annotations

import pytest

from agent.runtime.users import User, resolve
from covey.errors import InvalidArgumentError

PASSWD = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:1000:1001::/home/web:\n"
GROUP = "root:x:0:\nweb:x:1001:\nextra:x:2000:other,web\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", User(0, 0, (0,), "/root")),
        ("web", User(1000, 1001, (1001, 2000), "/home/web")),
        ("1000", User(1000, 1001, (1001, 2000), "/home/web")),
        ("web:extra", User(1000, 2000, (2000,), "/home/web")),
        ("web:", User(1000, 1001, (1001, 2000), "/home/web")),
        ("7:8", User(7, 8, (8,))),
        ("7", User(7, 0, (0,))),
    ],
)
def test_a_user_is_found_by_name_or_number(user: str, expected: User) -> None:
    assert resolve(user, (), PASSWD, GROUP) == expected


def test_groups_are_added_by_name_or_number() -> None:
    assert resolve("7:8", ("extra", "99", "8"), PASSWD, GROUP).groups == (8, 2000, 99)


@pytest.mark.parametrize("user", ["bob", "web:bobs", "99999999999", "-1"])
def test_what_the_image_does_not_know_is_refused(user: str) -> None:
    with pytest.raises(InvalidArgumentError):
        resolve(user, (), PASSWD, GROUP)
