"""Events and histories when the leader's host dies: a stream goes on without a gap, and the next leader remembers what was before."""

from __future__ import annotations

import json
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab.layout import LabHost
from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root

COVEY = labs.PYTHON_BIN / "covey"


@pytest.fixture(scope="module")
def trio(images: Path) -> Iterator[LabCluster]:
    """Three managers."""
    with labs.running_lab("stream", 3, 0, archive=images) as found:
        yield found


def secret(lab: LabCluster, name: str, on: LabHost) -> None:
    labs.wait(
        lambda: lab.docker("secret", "create", name, "-", stdin=b"x", on=on, check=None).code == 0, f"secret {name}"
    )


def test_a_stream_of_events_and_the_history_survive_the_leader(trio: LabCluster) -> None:
    leader = trio.wait_leader()
    follower = next(host for host in trio.managers if host != leader)
    trio.service("web")
    trio.running("web", 1)
    command = ["docker", "events", "--filter", "type=secret", "--format", "{{json .}}"]
    names: list[str] = []
    with subprocess.Popen(command, env=trio.environment(follower), stdout=subprocess.PIPE, bufsize=0) as reader:
        assert reader.stdout is not None

        def read() -> list[str]:
            assert reader.stdout is not None
            if select.select([reader.stdout], [], [], 0.05)[0]:
                names.append(json.loads(reader.stdout.readline())["Actor"]["Attributes"]["name"])
            return names

        try:
            secret(trio, "first", follower)
            labs.wait(lambda: secret(trio, labs.unique("probe"), follower) or read(), "the first event")
            trio.kill(leader)
            trio.wait_leader(but=leader, on=follower)
            for number in range(4):
                secret(trio, f"after{number}", follower)
            labs.wait(lambda: read()[-1] == "after3", f"the last event, after {names}")
        finally:
            reader.kill()
    secrets = sorted(trio.get("/secrets", on=follower), key=lambda item: item["CreatedAt"])
    made = [item["Spec"]["Name"] for item in secrets]
    assert names == made[made.index(names[0]) :], "an event is missing, out of order or there twice"
    history = labs.run([COVEY, "service", "history", "web", "--format", "json"], env=trio.environment(follower))
    entries = [json.loads(line) for line in history.lines]
    assert entries[0]["Text"].startswith("created: image")
    assert entries[0]["By"].startswith("root@")
    assert any(item["Action"] == "run" for item in entries)
