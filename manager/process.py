"""Event loop and garbage collector settings of a manager process: uvloop, and fewer collections.

Invariant: nothing here changes results. Called by ``manager.main``, and by the benchmark's processes so that they measure the same.
"""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

_YOUNG_OBJECTS = 20_000
"""How many new objects wait for a collection. What the store holds is no part of any cycle and is not looked at (``gc=False``); what a
write leaves behind is freed by counting references, so the default of 700 looks dozens of times a second and finds next to nothing."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result, or what it raises."""
    gc.set_threshold(_YOUNG_OBJECTS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
