"""Measurements of tasks that a manager asks for: what each uses now, on the wire.

Invariant: one measurement at a time, of a bounded number of tasks; a request that comes meanwhile replaces one that waits.
"""

import asyncio

from agent.session.interfaces import WorkerPort
from covey.clock import SECOND, boot_time
from coveypb.v1 import dispatcher_pb2

MAX_TASKS = 512


class TaskUsageAnswers:
    """One per session stream."""

    def __init__(self, worker: WorkerPort) -> None:
        self._worker = worker
        self._requests: asyncio.Queue[dispatcher_pb2.MeasureTasks] = asyncio.Queue(1)

    def add(self, request: dispatcher_pb2.MeasureTasks) -> None:
        """Take a request."""
        if self._requests.full():
            self._requests.get_nowait()
        self._requests.put_nowait(request)

    async def next_answer(self) -> dispatcher_pb2.TaskUsages:
        """Wait for a request and carry it out."""
        request = await self._requests.get()
        usages = await self._worker.task_usages(request.task_ids[:MAX_TASKS])
        return dispatcher_pb2.TaskUsages(
            measured_ns=int(boot_time() * SECOND),
            usages=[
                dispatcher_pb2.TaskUsage(task_id=task_id, cpu_ns=usage.cpu_ns, memory_bytes=usage.memory_bytes)
                for task_id, usage in usages.items()
            ],
        )
