"""Decisions about watched stacks: when to check, when to deploy, how failures slow them down, what counts as drift."""

import pytest

from covey.objects import (
    Annotations,
    ContainerSpec,
    Service,
    ServiceSpec,
    TaskSpec,
    WatchedStack,
    WatchedStackSpec,
    WatchStatus,
    replace,
)
from manager.stack_watch import plan
from manager.store import View
from manager.store.schema import SERVICES

SECOND = 1_000_000_000
INTERVAL = 10 * SECOND
NOW = 1_000 * SECOND
SPEC = WatchedStackSpec(annotations=Annotations(name="shop"), url="https://h/a", interval_ns=INTERVAL)
ANSWERED = WatchStatus(
    answered_request=1, deployed_commit="a", attempted_commit="a", checked_at_ns=NOW, next_check_at_ns=NOW + INTERVAL
)


def stack(status: WatchStatus = ANSWERED, request: int = 1) -> WatchedStack:
    return WatchedStack(id="1", spec=SPEC, status=status, request=request)


def service(name: str, image: str = "i", *, force: int = 0) -> Service:
    return Service(
        id=name,
        spec=ServiceSpec(
            annotations=Annotations(name=name, labels={"com.docker.stack.namespace": "shop"}),
            task=TaskSpec(container=ContainerSpec(image=image), force_update=force),
        ),
    )


def view(*services: Service) -> View:
    found = View.empty()
    for item in services:
        found = found.put(SERVICES, item.id, item)
    return found


@pytest.mark.parametrize(
    ("watched", "now_ns", "due"),
    [
        (stack(WatchStatus()), NOW, True),
        (stack(), NOW, False),
        (stack(), NOW + INTERVAL - 1, False),
        (stack(), NOW + INTERVAL, True),
        (stack(request=2), NOW, True),
        (stack(replace(ANSWERED, deploying=True)), NOW, True),
        (stack(), NOW - SECOND, True),
    ],
    ids=["new", "checked", "just before", "interval is over", "asked for", "interrupted", "clock went back"],
)
def test_a_stack_is_due(watched: WatchedStack, now_ns: int, due: bool) -> None:
    assert plan.is_due(watched, now_ns) is due


FAILED = replace(ANSWERED, deploy_error="x", attempted_commit="b", retry_at_ns=NOW + 5 * SECOND)


@pytest.mark.parametrize(
    ("watched", "commit", "now_ns", "deploys"),
    [
        (stack(), "a", NOW, False),
        (stack(), "b", NOW, True),
        (stack(request=2), "a", NOW, True),
        (stack(replace(ANSWERED, deploying=True)), "a", NOW, True),
        (stack(FAILED), "b", NOW, False),
        (stack(FAILED), "b", NOW + 5 * SECOND, True),
        (stack(FAILED), "c", NOW, True),
        (stack(FAILED), "a", NOW, True),
    ],
    ids=["unchanged", "changed", "asked for", "interrupted", "failed", "retry", "newer than the failed", "taken back"],
)
def test_a_commit_is_deployed(watched: WatchedStack, commit: str, now_ns: int, deploys: bool) -> None:
    status, decision = plan.after_check(watched, commit, now_ns)
    assert decision is deploys
    assert (status.seen_commit, status.next_check_at_ns) == (commit, now_ns + INTERVAL)


def test_a_deployment_ends_the_plan() -> None:
    """Planning again after a deployment leads to nothing."""
    status, _ = plan.after_check(stack(request=2), "b", NOW)
    status = plan.deployed(plan.begun(status, "b", NOW), "b", 2, {}, NOW)
    again = stack(status, request=2)
    assert not plan.is_due(again, NOW + 1)
    assert plan.after_check(again, "b", NOW + INTERVAL)[1] is False


def test_a_request_during_a_deployment_leads_to_another_one() -> None:
    status = plan.deployed(plan.begun(ANSWERED, "a", NOW), "a", 1, {}, NOW)
    assert plan.is_due(stack(status, request=2), NOW)


def test_an_interrupted_deployment_is_not_forgotten_while_the_repository_is_away() -> None:
    """The services may be those of the newer commit in part, so the older one is deployed if the branch goes back to it."""
    interrupted = stack(plan.begun(ANSWERED, "b", NOW))
    away = stack(plan.after_failed_check(interrupted, "no route", NOW))
    assert not plan.is_due(away, NOW + 1), "the repository is asked without a pause"
    assert plan.is_due(away, NOW + INTERVAL)
    assert plan.after_check(away, "a", NOW + INTERVAL)[1] is True


def test_failures_slow_down_checks_and_retries_up_to_an_hour() -> None:
    pauses, watched = [], stack()
    for _ in range(12):
        status = plan.after_failed_check(watched, "no route", NOW)
        pauses.append((status.next_check_at_ns - NOW) // SECOND)
        watched = stack(status)
    assert pauses == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]
    status = plan.failed(plan.failed(ANSWERED, "x", 1, INTERVAL, NOW), "x", 1, INTERVAL, NOW)
    assert status.retry_at_ns == NOW + 2 * INTERVAL
    assert plan.after_check(watched, "a", NOW)[0].check_failures == 0


@pytest.mark.parametrize("hours", [1, 2, 48])
def test_no_pause_is_shorter_than_the_interval(hours: int) -> None:
    interval = hours * 3600 * SECOND
    assert plan.backoff_ns(interval, 1) == plan.backoff_ns(interval, 30) == interval


def test_an_error_is_one_printable_line() -> None:
    assert plan.shortened("a\x1b[31m\nb\n") == "a [31m b"
    assert len(plan.shortened("x" * 5000)) == plan.MAX_ERROR


def test_services_that_changed_or_went_are_drift_and_forced_updates_are_not() -> None:
    before = view(service("shop_web"), service("shop_api"), service("shop_db"))
    status = plan.deployed(ANSWERED, "a", 1, plan.spec_digests(before, "shop"), NOW)
    assert plan.drift(before, stack(status)) == plan.Drift()
    after = view(service("shop_web", "other"), service("shop_db", force=3))
    assert plan.drift(after, stack(status)) == plan.Drift(changed=("shop_web",), removed=("shop_api",))
    assert plan.drift(after, stack(plan.begun(status, "b", NOW))) == plan.Drift()
