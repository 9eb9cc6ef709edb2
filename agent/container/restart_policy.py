"""Restart policy of a container: whether and when it starts again after an exit, and whether it starts with the daemon. Pure.

Invariant: Docker's rules. The delay begins at 100 ms, doubles up to one minute, and begins anew after a run of ten seconds. A
container that a user stopped stays stopped until it is started; with `always` it also starts with the daemon.
"""

from __future__ import annotations

from agent.container.model import ContainerState, RestartPolicy, RunStatus

FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 60.0
STABLE_RUN_SECONDS = 10.0
_SECOND_NS = 1_000_000_000


def delay_after_exit(
    policy: RestartPolicy, state: ContainerState, *, stop_requested: bool, last_delay_seconds: float
) -> float | None:
    """Seconds until the container starts again, None if it stays stopped. `state` is that of the exit.

    `last_delay_seconds` is the delay before the run that ended, 0 if a user started it.
    """
    if stop_requested or not _wants_restart(policy, state):
        return None
    ran_seconds = (state.finished_at_ns - state.started_at_ns) / _SECOND_NS
    if ran_seconds >= STABLE_RUN_SECONDS or not last_delay_seconds:
        return FIRST_DELAY_SECONDS
    return min(2 * last_delay_seconds, MAX_DELAY_SECONDS)


def starts_with_daemon(policy: RestartPolicy, state: ContainerState) -> bool:
    """Whether a container that does not run starts when the daemon has started."""
    if state.running or not state.start_count or state.status in {RunStatus.REMOVING, RunStatus.DEAD}:
        return False
    return _wants_restart(policy, state) and not (state.stopped_by_user and policy.name == "on-failure")


def _wants_restart(policy: RestartPolicy, state: ContainerState) -> bool:
    if policy.name == "always":
        return True
    if policy.name == "unless-stopped":
        return not state.stopped_by_user
    if policy.name == "on-failure":
        may_retry = not policy.maximum_retries or state.restart_count < policy.maximum_retries
        return state.exit_code != 0 and may_retry
    return False
