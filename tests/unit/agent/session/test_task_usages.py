"""Measurements that a manager asks for: bounded, of running tasks alone, and the latest question counts."""

from __future__ import annotations

from collections.abc import Sequence

from agent.session.interfaces import TaskUsage
from agent.session.task_usages import MAX_TASKS, TaskUsageAnswers
from coveypb.v1 import dispatcher_pb2


class Worker:
    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def task_usages(self, task_ids: Sequence[str]) -> dict[str, TaskUsage]:
        self.asked.append(list(task_ids))
        return {one: TaskUsage(cpu_ns=7, memory_bytes=9) for one in task_ids if one != "gone"}


async def test_the_answer_has_the_tasks_that_run() -> None:
    answers = TaskUsageAnswers(Worker())  # type: ignore[arg-type]
    answers.add(dispatcher_pb2.MeasureTasks(task_ids=["t", "gone"]))
    answer = await answers.next_answer()
    assert [(one.task_id, one.cpu_ns, one.memory_bytes) for one in answer.usages] == [("t", 7, 9)]
    assert answer.measured_ns > 0


async def test_only_the_latest_question_is_answered_and_for_so_many_tasks() -> None:
    worker = Worker()
    answers = TaskUsageAnswers(worker)  # type: ignore[arg-type]
    answers.add(dispatcher_pb2.MeasureTasks(task_ids=["old"]))
    answers.add(dispatcher_pb2.MeasureTasks(task_ids=[str(number) for number in range(MAX_TASKS + 9)]))
    await answers.next_answer()
    (asked,) = worker.asked
    assert (asked[0], len(asked)) == ("0", MAX_TASKS)
