"""Users of containers: resolves "user", "uid", "user:group" or "uid:gid" with the image's /etc/passwd and /etc/group.

Invariant: pure; the files' texts are passed in. A name that the image does not know is refused; a number need not be
known. Called by `agent.container.bundle`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from covey.errors import InvalidArgumentError

_MAX_ID = (1 << 31) - 1


class ProcessUser(NamedTuple):
    """`groups` are the supplementary groups, including `gid`."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str = ""


class _Group(NamedTuple):
    name: str
    gid: int
    members: tuple[str, ...]


def resolve_user(user: str, extra_groups: Sequence[str], passwd: str, group: str) -> ProcessUser:
    """The ids of the process. Supplementary groups come from the image, unless `user` names a group."""
    user_part, colon, group_part = user.partition(":")
    groups = _groups(group)
    name, uid, gid, home = _account(user_part or "0", passwd)
    if colon and group_part:
        gid = _gid(group_part, groups)
        members: list[int] = []
    else:
        members = [g.gid for g in groups if name and name in g.members]
    more = [_gid(g, groups) for g in extra_groups]
    return ProcessUser(uid, gid, tuple(dict.fromkeys([gid, *members, *more])), home)


def _account(user: str, passwd: str) -> tuple[str, int, int, str]:
    number = _number(user)
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) < 6 or not fields[2].isdigit() or not fields[3].isdigit():
            continue
        if fields[0] == user or (number is not None and int(fields[2]) == number):
            return fields[0], int(fields[2]), int(fields[3]), fields[5]
    if number is None:
        raise InvalidArgumentError(f"unable to find user {user}: no matching entries in passwd file")
    return "", number, 0, ""


def _gid(group: str, groups: Sequence[_Group]) -> int:
    for candidate in groups:
        if candidate.name == group:
            return candidate.gid
    number = _number(group)
    if number is None:
        raise InvalidArgumentError(f"unable to find group {group}: no matching entries in group file")
    return number


def _groups(text: str) -> list[_Group]:
    found = []
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 3 and fields[2].isdigit():
            members = tuple(fields[3].strip().split(",")) if len(fields) > 3 else ()
            found.append(_Group(fields[0], int(fields[2]), members))
    return found


def _number(text: str) -> int | None:
    if not text.isascii() or not text.isdigit():
        return None
    if int(text) > _MAX_ID:
        raise InvalidArgumentError(f"uid or gid {text} is out of range: use at most {_MAX_ID}")
    return int(text)
