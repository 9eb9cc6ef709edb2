"""What a container's end makes of its state."""

from agent.container import recovery
from agent.container.model import ContainerState, RunStatus

STARTED_NS = 1_000_000_000_000
RUNNING = ContainerState(status=RunStatus.RUNNING, pid=7, start_count=2, started_at_ns=STARTED_NS, finished_at_ns=1)


def test_what_the_monitor_wrote_is_told() -> None:
    ended = recovery.exited_state(RUNNING, recovery.ContainerExit(137, True, STARTED_NS + 5, "killed"))
    assert ended == ContainerState(
        status=RunStatus.EXITED,
        exit_code=137,
        oom_killed=True,
        error="killed",
        start_count=2,
        started_at_ns=STARTED_NS,
        finished_at_ns=STARTED_NS + 5,
    )


def test_an_end_whose_time_stamp_lags_behind_the_clock_is_not_told_before_the_start() -> None:
    ended = recovery.exited_state(RUNNING, recovery.ContainerExit(0, False, STARTED_NS - 1_000_000))
    assert ended.finished_at_ns == STARTED_NS
