"""The ends of logs that a node sends: which tasks, when, and how much."""

from agent.session.log_tails import PAUSE_SECONDS, TASKS_PER_ROUND, due_tasks, newest_lines
from coveypb.v1 import dispatcher_pb2


def lines(*texts: str) -> list[dispatcher_pb2.LogLine]:
    return [dispatcher_pb2.LogLine(data=text.encode()) for text in texts]


def test_a_log_is_sent_when_it_has_grown_and_not_too_often() -> None:
    assert due_tasks({"t": 1}, {}, 100.0) == ["t"]
    assert due_tasks({"t": 1}, {"t": (1, 0.0)}, 100.0) == []
    assert due_tasks({"t": 2}, {"t": (1, 100.0)}, 100.0 + PAUSE_SECONDS - 0.1) == []
    assert due_tasks({"t": 2}, {"t": (1, 100.0)}, 100.0 + PAUSE_SECONDS) == ["t"]


def test_a_round_is_bounded_and_takes_the_tasks_that_wait_longest() -> None:
    marks = {f"t{number:02}": 2 for number in range(TASKS_PER_ROUND + 2)}
    sent = {task_id: (1, float(100 - number)) for number, task_id in enumerate(marks)}
    assert due_tasks(marks, sent, 200.0) == sorted(marks, reverse=True)[:TASKS_PER_ROUND]


def test_the_newest_lines_that_fit_are_kept_and_the_end_of_one_that_does_not() -> None:
    assert [line.data for line in newest_lines(lines("aaaa", "bb", "c"), 3)] == [b"bb", b"c"]
    assert [line.data for line in newest_lines(lines("aaaa", "bbbbbb"), 3)] == [b"bbb"]
    assert newest_lines([], 3) == []
