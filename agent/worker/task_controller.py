"""Task controller: asks the task state machine for the next step of one task, carries it out, and waits for changes.

It keeps nothing that is not in the record, so it can be stopped and started at any line. Called by ``agent.worker.worker``.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from agent.task.state_machine import (
    ContainerPhase,
    Observation,
    PostStart,
    Prepare,
    Release,
    Remove,
    SetStatus,
    Start,
    Stop,
    TaskRecord,
    TaskStep,
    Wait,
    next_status,
    next_step,
    serves_others,
    with_status,
)
from agent.worker.executor import Executor
from covey.clock import Clock
from covey.errors import CoveyError
from covey.objects import Task, TaskStatus
from covey.states import TaskState

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
RETRY_LIMIT_SECONDS = 30.0

_replace = msgspec.structs.replace

DRAIN_SECONDS = 0.5
"""The time between the end of new connections to a task and its stop signal: other nodes learn of the end in it."""


class TaskController:
    """Drives one task towards its desired state. ``save`` stores a record; ``report`` reports a status."""

    def __init__(
        self,
        record: TaskRecord,
        executor: Executor,
        save: Callable[[TaskRecord], None],
        report: Callable[[str, TaskStatus], None],
        clock: Clock,
    ) -> None:
        self.record = record
        self.finished = False
        self._executor = executor
        self._save = save
        self._report = report
        self._clock = clock
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Something may have changed: plan the next step again."""
        self._changed.set()

    def assign(self, task: Task, *, assigned: bool) -> TaskRecord:
        """Takes over a newer assignment of the task. The caller saves the returned record, then wakes the controller."""
        desired = max(task.desired_state, self.record.task.desired_state)
        self.record = _replace(self.record, task=_replace(task, desired_state=desired), assigned=assigned)
        return self.record

    def report_ports(self) -> None:
        """Reports the ports that the node publishes for the task now, if they have changed. Its state stays."""
        ports = self._executor.observe(self.record).ports
        status = self.record.status
        if ports != status.ports and not status.state.terminal:
            self._save_record(_replace(self.record, status=_replace(status, ports=ports)))
            self._report(self.record.task.id, self.record.status)

    async def run(self) -> None:
        """Runs until the task is gone from this node. Failed steps are logged and retried with a growing backoff."""
        backoff_seconds = RETRY_SECONDS
        while not self.finished:
            self._changed.clear()
            observed = self._executor.observe(self.record)
            step = next_step(self.record, observed, self._clock())
            if isinstance(step, Wait):
                await self._changed.wait()
                continue
            try:
                await self._carry_out(step, observed)
                backoff_seconds = RETRY_SECONDS
            except Exception as error:  # a failure of one task must not affect others
                log.warning(
                    "task %s: %s failed, retrying in %.0f s: %s",
                    self.record.task.id,
                    type(step).__name__,
                    backoff_seconds,
                    error,
                )
                await self._sleep(backoff_seconds)
                backoff_seconds = min(2 * backoff_seconds, RETRY_LIMIT_SECONDS)

    async def _carry_out(self, step: TaskStep, observed: Observation) -> None:
        if isinstance(step, SetStatus):
            self._set_status(step.status)
        elif isinstance(step, Prepare):
            await self._attempt(step, TaskState.READY, TaskState.REJECTED)
        elif isinstance(step, Start):
            await self._attempt(step, None, TaskState.FAILED)
        elif isinstance(step, PostStart):
            await self._post_start(observed)
        elif isinstance(step, Stop):
            await self._stop(step, observed)
        elif isinstance(step, Release):
            await self._executor.release(self.record)
            self._save_record(_replace(self.record, released=True))
        elif isinstance(step, Remove):
            await self._executor.remove(self.record)
            self._save_record(_replace(self.record, released=True))
            self.finished = not self.record.assigned

    async def _attempt(self, step: Prepare | Start, then: TaskState | None, otherwise: TaskState) -> None:
        """Prepares or starts the container. A failure ends the task; the managers decide about a replacement."""
        try:
            if isinstance(step, Prepare):
                if not await self._while_wanted(self._executor.prepare(self.record), Prepare):
                    return
            else:
                await self._executor.start(self.record)
        except Exception as error:  # a bug or a full disk fails this task only, with the reason
            if not isinstance(error, CoveyError):
                log.exception("task %s: %s failed", self.record.task.id, type(step).__name__)
            observed = self._executor.observe(self.record)
            self._set_status(
                next_status(self.record, otherwise, self._clock(), observed=observed, error=_error_message(step, error))
            )
            return
        if then is not None:
            self._set_status(next_status(self.record, then, self._clock()))

    async def _post_start(self, observed: Observation) -> None:
        """Runs the hooks after the start. One that fails in a running container ends the task."""
        try:
            done = await self._while_wanted(self._executor.run_post_start(self.record), PostStart)
        except CoveyError as error:
            if self._executor.observe(self.record).phase is not ContainerPhase.RUNNING:
                return  # the container's own end says more
            await self._stop(Stop(error.message), observed)
            return
        if done:
            self._save_record(_replace(self.record, hooks_done=True))

    async def _while_wanted(self, steps: Coroutine[Any, Any, None], kind: type[Prepare | PostStart]) -> bool:
        """Carries out what may take long, such as a pull. Returns False if the task needs another step before that is done."""
        work = asyncio.create_task(steps)
        work.add_done_callback(lambda _: self._changed.set())
        try:
            while not work.done():
                self._changed.clear()
                if not isinstance(next_step(self.record, self._executor.observe(self.record), self._clock()), kind):
                    break
                await self._changed.wait()
        finally:
            work.cancel()
            await asyncio.wait({work})
        if work.cancelled():
            return False
        work.result()
        return True

    async def _stop(self, step: Stop, observed: Observation) -> None:
        if not step.reason and serves_others(self.record):
            await asyncio.sleep(DRAIN_SECONDS)
        if self.record.status.state is TaskState.RUNNING and self.record.task.spec.container.pre_stop:
            await self._executor.run_pre_stop(self.record)
        await self._executor.stop(self.record)
        if step.reason and not self.record.status.state.terminal:
            after = self._executor.observe(self.record)
            status = next_status(
                self.record, TaskState.FAILED, self._clock(), observed=after, error=f"task: {step.reason}"
            )
            self._set_status(status)
        log.debug("task %s: stopped, process %d", self.record.task.id, observed.pid)

    def _set_status(self, status: TaskStatus) -> None:
        self._save_record(with_status(self.record, status))
        self._report(self.record.task.id, status)

    def _save_record(self, record: TaskRecord) -> None:
        self._save(record)
        self.record = record

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass


def _error_message(step: Prepare | Start, error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"{'preparing' if isinstance(step, Prepare) else 'starting'} the container took too long"
    return error.message if isinstance(error, CoveyError) else f"{type(error).__name__}: {error}"
