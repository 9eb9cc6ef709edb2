"""Status writer: stores the task statuses of all nodes, many per transaction.

Invariant: task states only go up. A status of an unknown task, or of another node's task, is ignored. A batch is acknowledged once all of
it is in the store. The queue is bounded: a session that reports faster than the store writes has to wait.
"""

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from covey.errors import CoveyError
from covey.objects import Task, TaskStatus, replace
from manager.store import Operation, Store, Tx

log = logging.getLogger(__name__)

MAX_QUEUED_REPORTS = 256
MAX_TEXT_CHARACTERS = 4096
"""Longest message and error of a stored status. Every manager stores many old tasks."""
_BATCH_SECONDS = 0.01
_MAX_BATCH_STATUSES = 4096


class StatusReport(msgspec.Struct, frozen=True):
    """One batch of a node. ``done`` is resolved once the batch is in the store."""

    node_id: str
    updates: tuple[tuple[str, TaskStatus], ...]
    done: "asyncio.Future[None]"


def merge_status(task: Task, status: TaskStatus) -> TaskStatus | None:
    """The status to store; None if it adds nothing new."""
    status = replace(status, message=status.message[:MAX_TEXT_CHARACTERS], error=status.error[:MAX_TEXT_CHARACTERS])
    if status.state < task.status.state or status == task.status:
        return None
    if status.state == task.status.state and task.status.state.terminal:
        return None
    container = status.container or task.status.container
    return replace(status, container=container)


def apply_status(tx: Tx, node_id: str, task_id: str, status: TaskStatus) -> None:
    """Stores a status unless its task is unknown or belongs to another node."""
    task = tx.tasks.get(task_id)
    if task is None or task.node_id != node_id:
        return
    stored = merge_status(task, status)
    if stored is not None:
        tx.update(replace(task, status=stored))


class StatusWriter:
    """One per dispatcher term. ``run`` writes the statuses that ``report`` queues."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: asyncio.Queue[StatusReport] = asyncio.Queue(MAX_QUEUED_REPORTS)

    async def report(self, node_id: str, updates: Sequence[tuple[str, TaskStatus]]) -> None:
        """Returns once the statuses are in the store. Raises the store's errors."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._queue.put(StatusReport(node_id, tuple(updates), done))
        await done

    async def run(self) -> None:
        """Writes queued reports until cancelled."""
        while True:
            reports = [await self._queue.get()]
            await asyncio.sleep(_BATCH_SECONDS)
            count = len(reports[0].updates)
            while count < _MAX_BATCH_STATUSES and not self._queue.empty():
                reports.append(self._queue.get_nowait())
                count += len(reports[-1].updates)
            await self._write(reports)

    async def _write(self, reports: list[StatusReport]) -> None:
        operations = [_operation(report.node_id, *update) for report in reports for update in report.updates]
        try:
            for refusal in await self._store.batch(operations):
                log.info("a task status was refused: %s", refusal.error.message)
        except CoveyError as error:
            for report in reports:
                if not report.done.done():
                    report.done.set_exception(error)
            return
        except BaseException:  # the term is over, and the waiting sessions end with it
            for report in reports:
                report.done.cancel()
            raise
        for report in reports:
            if not report.done.done():
                report.done.set_result(None)


def _operation(node_id: str, task_id: str, status: TaskStatus) -> Operation:
    return lambda tx: apply_status(tx, node_id, task_id, status)
