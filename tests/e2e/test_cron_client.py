"""A cron that knows only Docker's API, as swarm-cronjob does: it watches events of services and runs them by forced updates."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import labs
from tests.support.cron_client import ENABLED, PERIOD, SKIP, CronClient
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root


@pytest.fixture
def cron(lab: LabCluster) -> Iterator[CronClient]:
    with CronClient(lab.environment()["DOCKER_HOST"]).running() as client:
        yield client


def job(lab: LabCluster, name: str, command: tuple[str, ...], *options: str) -> None:
    labels = [word for label in (f"{ENABLED}=true", f"{PERIOD}=1", *options) for word in ("--label", label)]
    lab.service(name, "--replicas", "0", "--restart-condition", "none", *labels, command=command)


def lines(lab: LabCluster, name: str) -> int:
    return len(lab.docker("service", "logs", "--raw", name).lines)


def test_services_are_run_by_their_labels_until_these_or_the_service_go(lab: LabCluster, cron: CronClient) -> None:
    job(lab, "tick", ("echo", "ran"), f"{SKIP}=true")  # a run that is replaced before it starts says nothing
    labs.wait(lambda: cron.fired.get("tick", 0) >= 3, "three runs")
    lab.docker("service", "update", "-d", "--label-add", f"{ENABLED}=false", "tick")
    labs.wait(lambda: "tick" not in cron.jobs, "the client to see the label")
    fired = cron.fired["tick"]
    labs.wait(lambda: lines(lab, "tick") == fired, f"{fired} lines, it has {lines(lab, 'tick')}")
    labs.wait(
        lambda: {task["Status"]["State"] for task in lab.tasks("tick", desired="")} == {"complete"},
        "the last run to end",
    )
    lab.docker("service", "update", "-d", "--label-add", f"{ENABLED}=true", "tick")
    labs.wait(lambda: cron.fired["tick"] > fired, "the next run")
    lab.docker("service", "rm", "tick")
    labs.wait(lambda: "tick" not in cron.jobs, "the client to see the removal")
    assert not cron.errors


def test_a_run_is_skipped_while_the_last_one_goes_on(lab: LabCluster, cron: CronClient) -> None:
    job(lab, "long", labs.SLEEP, f"{SKIP}=true")
    labs.wait(lambda: cron.skipped.get("long", 0) >= 2, "two skipped runs")
    assert cron.fired["long"] == 1
    assert len(lab.tasks("long", desired="")) == 1
    assert not cron.errors
