"""The status queue: the latest status of each task, until it is acknowledged."""

import asyncio

from agent.session.status_queue import MAX_BATCH, StatusQueue
from covey.objects import TaskStatus
from covey.states import TaskState

RUNNING, FAILED = TaskStatus(state=TaskState.RUNNING), TaskStatus(state=TaskState.FAILED)


def test_a_newer_status_replaces_a_waiting_one_and_survives_the_older_ones_acknowledgement() -> None:
    queue = StatusQueue()
    queue.put("t1", RUNNING)
    sent = queue.batch()
    queue.put("t1", FAILED)
    queue.acknowledge(sent)
    assert queue.batch() == {"t1": FAILED}
    queue.acknowledge(queue.batch())
    assert len(queue) == 0


def test_what_was_not_acknowledged_is_sent_again() -> None:
    queue = StatusQueue()
    queue.put("t1", RUNNING)
    assert queue.batch() == queue.batch() == {"t1": RUNNING}


def test_a_batch_is_bounded_and_takes_the_oldest() -> None:
    queue = StatusQueue()
    for number in range(MAX_BATCH + 5):
        queue.put(f"t{number}", RUNNING)
    queue.put("t0", FAILED)
    batch = queue.batch()
    assert len(batch) == MAX_BATCH
    assert "t0" not in batch, "what has just changed is the newest"


async def test_waiting_ends_when_something_waits() -> None:
    queue = StatusQueue()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(queue.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        queue.put("t1", RUNNING)


def test_the_status_of_a_task_that_is_gone_is_not_reported() -> None:
    queue = StatusQueue()
    queue.put("t1", RUNNING)
    sent = queue.batch()
    queue.forget("t1")
    queue.acknowledge(sent)
    assert queue.batch() == {}
