"""What a failed start says to its caller and leaves in the container's state."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest

from agent.container import start_errors
from agent.runtime.errors import OciRuntimeError
from covey.errors import CoveyError, InvalidArgumentError, NotFoundError, UnavailableError


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number), "/some/path")


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (OciRuntimeError('exec: "x": executable file not found in $PATH'), InvalidArgumentError, 127),
        (OciRuntimeError("exec: permission denied"), InvalidArgumentError, 126),
        (OciRuntimeError("cgroups are broken"), OciRuntimeError, 128),
        (os_error(errno.ENAMETOOLONG), InvalidArgumentError, 128),
        (os_error(errno.ENOSPC), UnavailableError, 128),
    ],
)
def test_the_caller_and_the_state_get_the_same_message(error: Exception, kind: type[CoveyError], code: int) -> None:
    shown = start_errors.raised(error)
    assert type(shown) is kind
    assert isinstance(shown, CoveyError)
    assert shown.message.startswith("failed to create task for container: ")
    assert start_errors.recorded(error) == (code, shown.message)


def test_an_error_of_the_system_names_the_path() -> None:
    assert "/some/path" in start_errors.recorded(os_error(errno.ENOTDIR))[1]


def test_other_errors_are_passed_on() -> None:
    missing = NotFoundError("No such image: x")
    assert start_errors.raised(missing) is missing
    assert start_errors.recorded(missing) == (128, "No such image: x")
    assert start_errors.recorded(asyncio.CancelledError()) == (128, "the start was cancelled")
    assert start_errors.recorded(RuntimeError("odd")) == (128, "RuntimeError: odd")
