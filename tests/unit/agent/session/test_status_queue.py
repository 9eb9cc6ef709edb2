"""Statuses wait until they are acknowledged."""

import asyncio

from agent.session.status_queue import MAX_BATCH, StatusQueue
from covey.objects import TaskStatus
from covey.states import TaskState

RUNNING, FAILED = TaskStatus(state=TaskState.RUNNING), TaskStatus(state=TaskState.FAILED)


def test_a_newer_status_replaces_a_waiting_one_and_survives_the_older_ones_acknowledgement() -> None:
    reports = StatusQueue()
    reports.put("t1", RUNNING)
    sent = reports.batch()
    reports.put("t1", FAILED)
    reports.acknowledge(sent)
    assert reports.batch() == {"t1": FAILED}
    reports.acknowledge(reports.batch())
    assert len(reports) == 0


def test_what_was_not_acknowledged_is_sent_again() -> None:
    reports = StatusQueue()
    reports.put("t1", RUNNING)
    assert reports.batch() == reports.batch() == {"t1": RUNNING}


def test_a_batch_is_bounded_and_takes_the_oldest() -> None:
    reports = StatusQueue()
    for number in range(MAX_BATCH + 5):
        reports.put(f"t{number}", RUNNING)
    reports.put("t0", FAILED)
    batch = reports.batch()
    assert len(batch) == MAX_BATCH
    assert "t0" not in batch, "what has just changed is the newest"


async def test_waiting_ends_when_something_waits() -> None:
    reports = StatusQueue()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(reports.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        reports.put("t1", RUNNING)
