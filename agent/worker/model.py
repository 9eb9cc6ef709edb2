"""The worker's nouns."""

from covey.objects import TaskStatus
from covey.objects.base import Struct


class StatusUpdate(Struct, frozen=True, kw_only=True):
    """What became of a task."""

    task_id: str
    status: TaskStatus = TaskStatus()
