"""The ends of logs that a manager keeps: bounded, copied to other managers, and read when a node is gone."""

from hypothesis import given
from hypothesis import strategies as st

from coveypb.v1 import dispatcher_pb2
from manager.logbroker.kept_tails import TAIL_BYTES, KeptTails, wanted_lines


def tail(task_id: str, *texts: str) -> dispatcher_pb2.LogTail:
    made = [
        dispatcher_pb2.LogLine(task_id=task_id, timestamp_ns=10 * number, stream=1, data=text.encode())
        for number, text in enumerate(texts, 1)
    ]
    return dispatcher_pb2.LogTail(task_id=task_id, lines=made)


def shown(lines: list[dispatcher_pb2.LogLine]) -> list[bytes]:
    return [line.data for line in lines]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 200)), max_size=40))
def test_tails_stay_within_the_limit_and_the_newest_ones_are_there(puts: list[tuple[str, int]]) -> None:
    limit = 500
    tails = KeptTails(limit)
    for task_id, size in puts:
        tails.put(tail(task_id, "x" * size))
        assert task_id in tails
        kept, _ = tails.since(0)
        assert sum(each.ByteSize() for each in kept) <= limit
        assert kept[-1].task_id == task_id


@given(st.lists(st.sampled_from("abcdef"), max_size=30), st.integers(0, 30))
def test_a_copy_that_follows_the_versions_ends_with_the_same_tails(puts: list[str], pause: int) -> None:
    leader, copy, version = KeptTails(), KeptTails(), 0
    for number, task_id in enumerate(puts):
        leader.put(tail(task_id, f"line {number}"))
        if number == pause:
            sent, version = leader.since(version)
            for each in sent:
                copy.put(each)
    for each in leader.since(version)[0]:
        copy.put(each)
    assert {task_id: shown(leader.lines(task_id)) for task_id in puts} == {
        task_id: shown(copy.lines(task_id)) for task_id in puts
    }


def test_a_tail_that_is_too_large_and_those_of_forgotten_tasks_are_not_kept() -> None:
    tails = KeptTails()
    tails.put(tail("big", "x" * TAIL_BYTES))
    tails.put(tail("gone", "x"))
    tails.put(tail("kept", "x"))
    tails.retain({"big", "kept"})
    assert [task_id in tails for task_id in ("big", "gone", "kept")] == [False, False, True]


def test_a_reader_gets_what_it_asked_for_and_does_not_have() -> None:
    lines = list(tail("t", "a", "b", "c").lines)
    options = dispatcher_pb2.LogOptions(stdout=True, tail=-1)
    assert shown(wanted_lines(lines, options, None)) == [b"a", b"b", b"c"]
    assert shown(wanted_lines(lines, dispatcher_pb2.LogOptions(stdout=True, tail=1), None)) == [b"c"]
    assert shown(wanted_lines(lines, dispatcher_pb2.LogOptions(stderr=True, tail=-1), None)) == []
    since = dispatcher_pb2.LogOptions(stdout=True, tail=-1, since_ns=20, until_ns=20)
    assert shown(wanted_lines(lines, since, None)) == [b"b"]
    cursor = dispatcher_pb2.LogCursor(task_id="t", time_ns=20, lines=1)
    assert shown(wanted_lines(lines, options, cursor)) == [b"c"]
