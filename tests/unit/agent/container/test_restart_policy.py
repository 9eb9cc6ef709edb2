"""Restart policies: who starts again, after how long, and who starts with the daemon."""

import pytest

from agent.container import restart_policy
from agent.container.model import ContainerState, RestartPolicy, RunStatus

SECOND = 1_000_000_000
NO, ALWAYS, UNLESS = (RestartPolicy(name=name) for name in ("no", "always", "unless-stopped"))
FAILURE, TWICE = RestartPolicy(name="on-failure"), RestartPolicy(name="on-failure", maximum_retries=2)


def exited(code: int = 1, *, ran_seconds: float = 1, restarts: int = 0, stopped: bool = False) -> ContainerState:
    return ContainerState(
        status=RunStatus.EXITED, exit_code=code, started_at_ns=SECOND, finished_at_ns=SECOND + int(ran_seconds * SECOND),
        start_count=1 + restarts, restart_count=restarts, stopped_by_user=stopped,
    )  # fmt: skip


def delay(policy: RestartPolicy, state: ContainerState, *, stop: bool = False, last: float = 0.0) -> float | None:
    return restart_policy.delay_after_exit(policy, state, stop_requested=stop, last_delay_seconds=last)


@pytest.mark.parametrize(
    ("policy", "state", "restarts"),
    [
        (NO, exited(1), False),
        (RestartPolicy(name=""), exited(1), False),
        (ALWAYS, exited(0), True),
        (UNLESS, exited(0), True),
        (UNLESS, exited(0, stopped=True), False),
        (FAILURE, exited(0), False),
        (FAILURE, exited(1), True),
        (FAILURE, exited(1, restarts=100), True),
        (TWICE, exited(1, restarts=1), True),
        (TWICE, exited(1, restarts=2), False),
    ],
)
def test_a_policy_decides_by_exit_code_count_and_who_stopped_it(
    policy: RestartPolicy, state: ContainerState, restarts: bool
):
    assert (delay(policy, state) is not None) is restarts


@pytest.mark.parametrize("policy", [ALWAYS, UNLESS, FAILURE])
def test_a_container_that_is_being_stopped_does_not_start_again(policy: RestartPolicy):
    assert delay(policy, exited(137), stop=True) is None


def test_the_delay_doubles_up_to_a_minute_and_begins_anew_after_a_run_of_ten_seconds():
    delays, last = [], 0.0
    for _ in range(12):
        last = delay(ALWAYS, exited(), last=last) or 0.0
        delays.append(last)
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-2:] == [60.0, 60.0]
    assert delay(ALWAYS, exited(ran_seconds=9.9), last=60.0) == 60.0
    assert delay(ALWAYS, exited(ran_seconds=10), last=60.0) == 0.1


@pytest.mark.parametrize(
    ("policy", "state", "starts"),
    [
        (NO, exited(1), False),
        (ALWAYS, exited(0), True),
        (ALWAYS, exited(0, stopped=True), True),
        (UNLESS, exited(0), True),
        (UNLESS, exited(0, stopped=True), False),
        (FAILURE, exited(0), False),
        (FAILURE, exited(137), True),
        (FAILURE, exited(137, stopped=True), False),
        (TWICE, exited(137, restarts=2), False),
        (ALWAYS, ContainerState(), False),
        (ALWAYS, ContainerState(status=RunStatus.RUNNING, start_count=1), False),
        (ALWAYS, ContainerState(status=RunStatus.RESTARTING, start_count=1, exit_code=1), True),
    ],
)
def test_who_starts_with_the_daemon(policy: RestartPolicy, state: ContainerState, starts: bool):
    assert restart_policy.starts_with_daemon(policy, state) is starts
