"""Jobs on schedules by covey and docker: their guide, runs over a change of the leader, overlapping runs, history and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import guide_blocks, labs, ticking_job
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def cluster(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("cron", 2, archive=images, etcd=1) as found:
        yield found


@pytest.fixture(autouse=True)
def _empty(cluster: LabCluster) -> Iterator[None]:
    yield
    cluster.remove_all_objects()


def job(lab: LabCluster, name: str, *labels: str, command: tuple[str, ...] = ("true",)) -> None:
    flags = [word for label in labels for word in ("--label", label)]
    lab.service(name, "--mode", "replicated-job", *flags, command=command)


def schedule(lab: LabCluster, name: str) -> dict[str, Any]:
    found: dict[str, Any] = lab.get(f"/services/{name}")["Schedule"]
    return found


def runs(lab: LabCluster, name: str) -> list[int]:
    tasks = lab.get("/tasks", service=[name])
    return sorted({task.get("JobIteration", {}).get("Index", 0) for task in tasks})


def test_every_block_of_the_guide_works_as_described(cluster: LabCluster, tmp_path: Path) -> None:
    guide_blocks.walk("cron.md", cluster, tmp_path)


def test_each_time_begins_one_run_while_the_leader_is_killed(cluster: LabCluster) -> None:
    """The managers' state is in etcd here; `test_autoscale` does the same with Raft."""
    ticking_job.create(cluster)
    leader = cluster.wait_leader()
    cluster.kill(leader)
    try:
        other = next(host for host in cluster.managers if host != leader)
        cluster.wait_leader(but=leader, on=other)
        before = ticking_job.runs(cluster)
        labs.wait(lambda: ticking_job.runs(cluster) >= before + 2, "two runs under another leader")
        ticking_job.require_one_run_for_each_time(cluster)
    finally:
        cluster.restore_all_hosts()


def test_runs_overlap_replace_or_exclude_each_other(cluster: LabCluster) -> None:
    every = "covey.schedule=*/2 * * * * *"
    for policy in ("allow", "replace", "forbid"):
        job(cluster, policy, every, f"covey.schedule.concurrency={policy}", command=labs.SLEEP)
    labs.wait(lambda: schedule(cluster, "allow").get("ConcurrentRuns", 0) >= 2, "runs beside each other")
    assert len([task for task in cluster.tasks("allow", desired="") if task["Status"]["State"] == "running"]) >= 2
    labs.wait(lambda: "SkippedRun" in schedule(cluster, "forbid"), "a skipped run")
    assert schedule(cluster, "forbid")["SkippedReason"] == "the run before it still went on"
    assert runs(cluster, "forbid") == [0]
    labs.wait(lambda: max(runs(cluster, "replace")) >= 2, "replaced runs")
    going = [task for task in cluster.get("/tasks", service=["replace"]) if task["Status"]["State"] == "running"]
    assert len(going) <= 1
    listed = cluster.docker("service", "ps", "--no-trunc", "replace").out
    assert "Shutdown" in listed


def test_the_history_keeps_the_wished_runs(cluster: LabCluster) -> None:
    job(cluster, "short", "covey.schedule=* * * * * *", "covey.schedule.history=2")
    labs.wait(lambda: max(runs(cluster, "short"), default=0) >= 5, "five runs")
    found = runs(cluster, "short")
    assert len(found) <= 4
    assert max(found) - min(found) <= 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--schedule", "61 * * * *", "--mode", "replicated-job"], "label covey.schedule: "),
        (["--schedule", "@daily"], "label covey.schedule: a replicated service runs all the time"),
        (["--schedule-timezone", "UTC", "--mode", "global-job"], "label covey.schedule.timezone: "),
        (["--label", "covey.schedule.zone=UTC", "--mode", "global-job"], "label covey.schedule.zone is not known"),
    ],
)
def test_what_cannot_be_is_refused_with_its_label(cluster: LabCluster, arguments: list[str], words: str) -> None:
    command = [labs.PYTHON_BIN / "covey", "service", "create", "--no-resolve-image", *arguments, "--name", "no", IMAGE]
    done = labs.run(command, env=cluster.environment(), check=1)
    assert words in done.err
    assert not cluster.get("/services")
