"""A job that runs every other second, and the proof that each of its times began one run, from the cluster's events."""

from __future__ import annotations

import json
import time

from tests.support import labs
from tests.support.labs import LabCluster

NAME = "pulse"


def create(lab: LabCluster) -> None:
    """Creates the job and waits for its second run."""
    lab.service(NAME, "--mode", "replicated-job", "--label", "covey.schedule=*/2 * * * * *", command=("true",))
    labs.wait(lambda: runs(lab) >= 2, "two runs")


def runs(lab: LabCluster) -> int:
    """How many runs have begun."""
    service = lab.get(f"/services/{NAME}")
    begun = "LastRun" in service["Schedule"]
    return int((service["JobStatus"].get("JobIteration") or {}).get("Index", 0)) + begun


def require_one_run_for_each_time(lab: LabCluster) -> None:
    """Every run has a scheduled time of its own, in order, on an even second."""
    before = runs(lab)
    until = str(int(time.time()) + 1)
    form = ("--since", "1", "--until", until, "--filter", f"service={NAME}", "--format", "{{json .Actor.Attributes}}")
    events = [json.loads(line) for line in lab.docker("events", *form).lines]
    times = [event["schedule.run"] for event in events if "schedule.run" in event]
    assert times == sorted(set(times)), times
    assert all(int(moment[-3:-1]) % 2 == 0 for moment in times), times
    assert before <= len(times) <= before + 2, (before, times)
