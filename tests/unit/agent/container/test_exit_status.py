"""The state that follows from a container's exit status."""

from agent.container.exit_status import ExitStatus, exited_state
from agent.container.model import ContainerState, RunStatus

STARTED_NS = 1_000_000_000_000
RUNNING = ContainerState(status=RunStatus.RUNNING, pid=7, start_count=2, started_at_ns=STARTED_NS, finished_at_ns=1)


def test_the_exit_status_goes_into_the_state() -> None:
    state = exited_state(RUNNING, ExitStatus(137, True, STARTED_NS + 5, "killed"))
    assert state == ContainerState(
        status=RunStatus.EXITED,
        exit_code=137,
        oom_killed=True,
        error="killed",
        start_count=2,
        started_at_ns=STARTED_NS,
        finished_at_ns=STARTED_NS + 5,
    )


def test_an_exit_is_never_before_the_start_even_if_the_files_time_stamp_lags() -> None:
    assert exited_state(RUNNING, ExitStatus(0, False, STARTED_NS - 1_000_000)).finished_at_ns == STARTED_NS
