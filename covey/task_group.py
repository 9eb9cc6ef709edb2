"""``asyncio.TaskGroup`` without a fault that Python has before 3.13.

If a task of a group fails after the group's body has ended, the group asks to cancel its parent, and never takes that request back.
From then on `asyncio.timeout` does not end with TimeoutError in the parent: it cancels it, which nobody sees. All of Covey uses this class.
"""

import asyncio
import sys
from types import TracebackType

_LEAVES_A_REQUEST = sys.version_info < (3, 13)


class TaskGroup(asyncio.TaskGroup):
    """As ``asyncio.TaskGroup``."""

    async def __aexit__(
        self, et: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        before = task.cancelling() if task is not None else 0
        asked_in_body = bool(self.__dict__.get("_parent_cancel_requested"))
        try:
            await super().__aexit__(et, exc, tb)
        finally:
            asked = bool(self.__dict__.get("_parent_cancel_requested"))
            if _LEAVES_A_REQUEST and task is not None and asked and not asked_in_body and task.cancelling() > before:
                task.uncancel()
