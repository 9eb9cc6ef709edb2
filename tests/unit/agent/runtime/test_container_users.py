"""Users of containers, resolved with the image's passwd and group files."""

from __future__ import annotations

import pytest

from agent.runtime.users import ProcessUser, resolve_user
from covey.errors import InvalidArgumentError

PASSWD = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:1000:1001::/home/web:\n"
GROUP = "root:x:0:\nweb:x:1001:\nextra:x:2000:other,web\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", ProcessUser(0, 0, (0,), "/root")),
        ("web", ProcessUser(1000, 1001, (1001, 2000), "/home/web")),
        ("1000", ProcessUser(1000, 1001, (1001, 2000), "/home/web")),
        ("web:extra", ProcessUser(1000, 2000, (2000,), "/home/web")),
        ("web:", ProcessUser(1000, 1001, (1001, 2000), "/home/web")),
        ("7:8", ProcessUser(7, 8, (8,))),
        ("7", ProcessUser(7, 0, (0,))),
    ],
)
def test_a_user_is_found_by_name_or_number(user: str, expected: ProcessUser) -> None:
    assert resolve_user(user, (), PASSWD, GROUP) == expected


def test_groups_are_added_by_name_or_number() -> None:
    assert resolve_user("7:8", ("extra", "99", "8"), PASSWD, GROUP).groups == (8, 2000, 99)


@pytest.mark.parametrize("user", ["bob", "web:bobs", "99999999999", "-1"])
def test_an_unknown_name_is_refused(user: str) -> None:
    with pytest.raises(InvalidArgumentError):
        resolve_user(user, (), PASSWD, GROUP)
