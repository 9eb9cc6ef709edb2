"""Progress of jobs: complete, failed for good, tried again, of another run; and the columns of ``service ls``."""

from __future__ import annotations

from typing import Any

import pytest

from cli.rows import service as rows
from cli.service.convergence import service_progress


def job(total: int | None = 2, run: int = 0) -> dict[str, Any]:
    mode = {"GlobalJob": {}} if total is None else {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": total}}
    return {"Spec": {"Mode": mode, "TaskTemplate": {}}, "JobStatus": {"JobIteration": {"Index": run} if run else {}}}


def task(
    slot: int, state: str, desired: str = "complete", *, run: int = 0, node: str = "n1", at: int = 1
) -> dict[str, Any]:
    status = {"State": state, "Err": "exit 3" if state == "failed" else "", "Timestamp": str(at)}
    iteration = {"Index": run} if run else {}
    made = {"NodeID": node, "DesiredState": desired, "CreatedAt": str(at), "Status": status, "JobIteration": iteration}
    return made | ({"Slot": slot} if slot else {})


@pytest.mark.parametrize(
    ("tasks", "summary"),
    [
        ([], "0 of 2 tasks complete"),
        ([task(0, "complete"), task(1, "running")], "1 of 2 tasks complete; 1 running"),
        ([task(0, "complete"), task(1, "complete")], "2 of 2 tasks complete"),
        ([task(0, "failed", "shutdown"), task(0, "ready", "ready", at=2)], "0 of 2 tasks complete; 1 ready"),
        ([task(0, "complete", run=1), task(1, "complete", run=1)], "0 of 2 tasks complete"),
    ],
)
def test_the_summary_counts_slots_of_the_present_run(tasks: list[dict[str, Any]], summary: str) -> None:
    progress = service_progress(job(), tasks, 0)
    assert progress.summary == summary
    assert progress.converged == summary.startswith("2")
    assert not progress.failure


def test_a_job_has_failed_once_every_slot_has_ended_and_one_for_good() -> None:
    failed = [task(0, "failed", "shutdown"), task(0, "failed", "shutdown", at=2)]
    assert not service_progress(job(), [*failed, task(1, "running")], 0).failure, "another slot may still complete"
    progress = service_progress(job(), [*failed, task(1, "complete")], 0)
    assert (progress.failure, progress.converged) == ("1 of 2 tasks: exit 3", False)
    again = [*failed, task(0, "complete", at=3), task(1, "complete")]
    assert service_progress(job(), again, 0).converged, "a later task of the slot completed"


def test_a_global_job_is_done_when_each_of_its_nodes_is() -> None:
    assert not service_progress(job(None), [], 0).converged, "its tasks are not created yet"
    one, other = task(0, "complete", run=1), task(0, "running", run=1, node="n2")
    assert not service_progress(job(None, 1), [one, other], 0).converged
    done = task(0, "complete", run=1, node="n2")
    assert service_progress(job(None, 1), [one, done, task(0, "running", node="n3")], 0).converged


@pytest.mark.parametrize(
    ("total", "counts", "shown"),
    [
        (5, (1, 2, 3), "1/2 (3/5 completed)"),
        (None, (1, 2, 3), "1/2 (3/5 completed)"),
        (None, (0, 0, 2), "0/0 (2/2 completed)"),
    ],
)
def test_service_ls_shows_completions_as_docker_does(total: int | None, counts: tuple[int, ...], shown: str) -> None:
    status = dict(zip(("RunningTasks", "DesiredTasks", "CompletedTasks"), counts, strict=True))
    assert rows.replicas({**job(total), "ServiceStatus": status}) == shown
