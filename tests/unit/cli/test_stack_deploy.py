"""Steps of a deployment that run side by side."""

import threading

import pytest

from cli.stack.deploy import MAX_PARALLEL, Progress
from covey.errors import ConflictError


def test_steps_run_side_by_side() -> None:
    together = threading.Barrier(MAX_PARALLEL, timeout=10)  # breaks unless all of them wait at once
    Progress().side_by_side("Creating", {f"service s{number}": together.wait for number in range(MAX_PARALLEL)})
    Progress().side_by_side("Creating", {})


def test_after_a_failure_no_step_begins_and_the_report_names_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        begun.wait()
        raise ConflictError("the port is taken")

    def begin_late() -> None:
        late.append("begun")

    late: list[str] = []
    begun = threading.Barrier(MAX_PARALLEL, timeout=10)
    progress = Progress()
    with progress.step("Creating", "network n"):
        pass
    refused = threading.Event()
    blocked = {f"service b{number}": lambda: (begun.wait(), refused.wait(0.5)) for number in range(MAX_PARALLEL - 1)}
    queued = {f"service q{number}": begin_late for number in range(100)}
    with pytest.raises(ConflictError, match="the port is taken"):
        progress.side_by_side("Creating", {"service a": refuse, **blocked, **queued})
    assert not late
    error = capsys.readouterr().err
    assert "The deployment stopped at service a. Done before: network n, " in error
    assert "service b0" in error
