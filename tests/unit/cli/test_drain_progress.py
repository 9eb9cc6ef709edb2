"""What `node drain --wait` says about each task that is still there."""

from typing import Any

from cli.service.drain_progress import describe, remaining_tasks


def task(node: str, state: str = "running", *, slot: int = 1, at: str = "1", **changes: Any) -> dict[str, Any]:
    status = {"State": state, "Err": changes.pop("error", "")}
    made = {"ServiceID": "s", "Slot": slot, "NodeID": node, "CreatedAt": at, "DesiredState": "running"}
    return {**made, "Status": status, **changes}


def said(left: dict[str, Any], *others: dict[str, Any]) -> str:
    return describe([left], [left, *others], {"s": "web"})


def test_each_task_has_the_reason_why_it_stays() -> None:
    old = task("n1")
    assert said(old) == "1 task left: web.1 waits for a replacement"
    assert said(old, task("n2", "starting", at="2")).endswith(
        "web.1 stays until its replacement runs, which is starting"
    )
    pending = task("", "pending", at="2", error="no suitable node")
    assert said(old, pending).endswith("web.1 stays, its replacement is pending: no suitable node")
    assert said({**old, "DesiredState": "shutdown"}).endswith("web.1 is stopping")


def test_earlier_tasks_and_other_slots_are_no_replacements() -> None:
    old = task("n1", at="5")
    assert said(old, task("n2", at="1"), task("n2", slot=2, at="9")).endswith("web.1 waits for a replacement")


def test_ended_tasks_are_not_left_and_long_lists_are_cut() -> None:
    tasks = [task("n1", slot=number) for number in range(1, 8)]
    assert len(remaining_tasks([*tasks, task("n1", "shutdown"), task("n1", "failed")])) == 7
    assert describe(tasks, tasks, {"s": "web"}).endswith("and 2 more")
