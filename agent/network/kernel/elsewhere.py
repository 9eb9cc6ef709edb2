"""Short visits of a pass to another namespace: to make a device from there, or to ask for a device's name or index."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeVar

from agent.network.kernel.target import Target
from agent.network.netns import Namespace

T = TypeVar("T")


def visit(target: Target, other: Namespace, work: Callable[[], T]) -> T:
    """Run `work` in another namespace on this thread, and return to the namespace of the pass."""
    other.enter()
    try:
        return work()
    finally:
        target.namespace.enter()


def device_name(target: Target, other: Namespace, index: int) -> str:
    def find() -> str:
        try:
            return socket.if_indextoname(index)
        except OSError:
            return ""

    return visit(target, other, find)


def device_index(name: str) -> int:
    """The index of a device in the calling thread's namespace, or 0."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0
