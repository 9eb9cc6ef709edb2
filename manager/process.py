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
"""Number of new objects between two collections. Objects of the store are not tracked (``gc=False``), and reference counting frees almost
everything else, so the default of 700 would collect dozens of times a second and find almost nothing."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs the coroutine and returns its result."""
    gc.set_threshold(_YOUNG_OBJECTS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
