"""Replicas that follow the load: the guide, with real CPU use; a Prometheus whose value goes up, down and away; a change of the leader."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import guide_blocks, labs, ticking_job
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root
PORT = 9099
URL = f"http://192.168.77.254:{PORT}"
SCALE = {
    "min": "1",
    "max": "6",
    "prometheus.url": URL,
    "prometheus.query": "load",
    "prometheus.target": "10",
    "cooldown.up": "1s",
    "cooldown.down": "1s",
    "stabilization": "3s",
}


@pytest.fixture(scope="module")
def cluster(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("scale", 3, archive=images) as found:
        yield found


@pytest.fixture(autouse=True)
def _empty(cluster: LabCluster) -> Iterator[None]:
    yield
    cluster.remove_all_objects()


def web(lab: LabCluster, **changes: str) -> None:
    labels = [f"covey.autoscale.{key}={value}" for key, value in (SCALE | changes).items()]
    lab.service("web", *[word for label in labels for word in ("--label", label)])


def replicas(lab: LabCluster, on: Any = None) -> int:
    return int(lab.get("/services/web", on=on)["Spec"]["Mode"]["Replicated"]["Replicas"])


def told(lab: LabCluster) -> dict[str, Any]:
    found: dict[str, Any] = lab.get("/services/web")["Autoscale"]
    return found


def test_every_block_of_the_guide_works_as_described(cluster: LabCluster, tmp_path: Path) -> None:
    guide_blocks.walk("autoscale.md", cluster, tmp_path)


def test_replicas_follow_a_query_and_stay_when_it_fails(cluster: LabCluster, tmp_path: Path) -> None:
    value = tmp_path / "value"
    value.write_text("35")
    program = [labs.PYTHON_BIN / "python", Path(labs.__file__).with_name("fake_prometheus.py"), str(PORT), value]
    web(cluster)
    labs.wait(lambda: "cannot be asked" in told(cluster).get("Error", ""), "the missing server to be told")
    assert replicas(cluster) == 1
    with labs.serving(["nsenter", f"--net=/run/netns/{cluster.lab.switch}", "--", *program]):
        labs.wait(lambda: replicas(cluster) == 4, "replicas for the load")
        cluster.running("web", 4)
        found = told(cluster)
        assert found["Message"] == "1 to 4 replicas: query 35 of each, the target is 10"
        assert "Error" not in found
        value.write_text("9999")
        labs.wait(lambda: replicas(cluster) == 6, "the maximum")
        value.write_text("12")
        labs.wait(lambda: replicas(cluster) == 2, "fewer replicas")
        cluster.running("web", 2)
    labs.wait(lambda: "cannot be asked" in told(cluster).get("Error", ""), "the lost server to be told")
    assert replicas(cluster) == 2
    events = cluster.docker("events", "--since", "1", "--until", str(int(time.time())), "--filter", "service=web").out
    assert "autoscale.reason=1 to 4 replicas: query 35 of each, the target is 10" in events
    assert "autoscale.error=Prometheus at" in events


def test_another_leader_goes_on_and_a_stale_update_is_refused(cluster: LabCluster, tmp_path: Path) -> None:
    value = tmp_path / "value"
    value.write_text("10")
    program = [labs.PYTHON_BIN / "python", Path(labs.__file__).with_name("fake_prometheus.py"), str(PORT), value]
    with labs.serving(["nsenter", f"--net=/run/netns/{cluster.lab.switch}", "--", *program]):
        web(cluster)
        ticking_job.create(cluster)
        read = cluster.get("/services/web")
        leader = cluster.wait_leader()
        cluster.kill(leader)
        try:
            value.write_text("30")
            other = next(host for host in cluster.managers if host != leader)
            cluster.wait_leader(but=leader, on=other)
            labs.wait(lambda: replicas(cluster, other) == 3, "the next leader's decision")
            before = ticking_job.runs(cluster)
            labs.wait(lambda: ticking_job.runs(cluster) >= before + 2, "two runs under another leader")
            ticking_job.require_one_run_for_each_time(cluster)
        finally:
            cluster.restore_all_hosts()
        url = f"/services/web/update?version={read['Version']['Index']}"
        status, answer = cluster.request("POST", url, read["Spec"])
        assert (status, "out of sequence" in json.dumps(answer)) == (500, True)
        assert replicas(cluster) == 3
