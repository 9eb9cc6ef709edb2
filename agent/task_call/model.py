"""What can be asked of the container of a task on another node, and the answers. Data only, sent as JSON.

The caller's daemon encodes a request and decodes the result; managers pass both on unread.
"""

import msgspec

from agent.container.model import ExecConfig, ExecState

PART_BYTES = 256 << 10
"""Largest piece of data in one part of a call."""


class ExecCreate(msgspec.Struct, frozen=True, tag=True):
    """Register an exec. Result: its id, as text."""

    config: ExecConfig


class ExecStart(msgspec.Struct, frozen=True, tag=True):
    """Run an exec. After the empty result, output follows, and input is taken unless ``detach``. ``size`` is (height, width)."""

    exec_id: str
    size: tuple[int, int] | None = None
    detach: bool = False


class ExecResize(msgspec.Struct, frozen=True, tag=True):
    """Resize the terminal of an exec. Result: nothing."""

    exec_id: str
    height: int
    width: int


class ExecInspect(msgspec.Struct, frozen=True, tag=True):
    """Result: `ExecStatus`."""

    exec_id: str


class StatPath(msgspec.Struct, frozen=True, tag=True):
    """Result: the `PathStat` of a path in the container."""

    path: str


class ReadPath(msgspec.Struct, frozen=True, tag=True):
    """Result: a `PathStat`. A tar follows as data."""

    path: str


class WritePath(msgspec.Struct, frozen=True, tag=True):
    """Unpack the tar that follows as data. Result, once it is unpacked: nothing."""

    path: str
    keep_kinds: bool = False
    as_user: bool = False


TaskRequest = ExecCreate | ExecStart | ExecResize | ExecInspect | StatPath | ReadPath | WritePath


class ExecStatus(msgspec.Struct, frozen=True):
    """An exec, and whether its container runs and is paused."""

    state: ExecState
    running: bool = True
    paused: bool = False
