"""docker-compose 1.29 drives a Covey host: two services on the default bridge come up, are used, changed and taken down."""

import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import CommandResult, LabCluster

pytestmark = pytest.mark.root

COMPOSE_FILE = """
version: "2.4"
services:
  web:
    image: covey-test:1
    command: ["httpd", "-f", "-p", "80", "-h", "/www"]
    network_mode: bridge
    stop_signal: SIGKILL
    environment:
      TIER: front
    volumes:
      - "data:/data"
  worker:
    image: covey-test:1
    command: ["sh", "-c", "echo started; while true; do sleep 1; done"]
    network_mode: bridge
    stop_signal: SIGKILL
    depends_on: [web]
    restart: {restart}
volumes:
  data: {}
"""


class Project:
    """A Compose project on a host without a cluster."""

    def __init__(self, lab: LabCluster, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.write(restart='"no"')

    def write(self, *, restart: str) -> None:
        (self.folder / "docker-compose.yml").write_text(COMPOSE_FILE.replace("{restart}", restart))

    def compose(self, *arguments: str, check: int | None = 0) -> CommandResult:
        command = ["docker-compose", "--ansi", "never", "--project-name", "two", *arguments]
        return labs.run(command, check=check, env=self.lab.environment(), cwd=self.folder)

    def containers(self) -> dict[str, dict]:
        """The project's containers by service, running or not."""
        query = {"all": "1", "filters": json.dumps({"label": ["com.docker.compose.project=two"]})}
        status, found = self.lab.request("GET", f"/containers/json?{urllib.parse.urlencode(query)}")
        assert status == 200, found
        return {one["Labels"]["com.docker.compose.service"]: one for one in found}

    def states(self) -> dict[str, str]:
        return {service: one["State"] for service, one in self.containers().items()}


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("compose", 1, init_cluster=False, archive=images) as found:
        yield found


@pytest.fixture
def project(lab: LabCluster, tmp_path: Path) -> Iterator[Project]:
    made = Project(lab, tmp_path)
    yield made
    made.compose("down", "--volumes", "--timeout", "0", check=None)
    assert not made.containers()


def test_two_services_come_up_and_are_used(project: Project, lab: LabCluster) -> None:
    project.compose("up", "--detach")
    assert project.states() == {"web": "running", "worker": "running"}
    address = project.containers()["web"]["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    fetch = ["exec", "-T", "worker", "wget", "-q", "-O", "-", f"http://{address}/"]
    labs.wait(lambda: project.compose(*fetch, check=None).out.strip() == "ok", "the web page over the bridge")
    assert project.compose("exec", "-T", "web", "sh", "-c", "echo $TIER").out == "front\n"
    assert project.compose("exec", "-T", "web", "sh", "-c", "exit 7", check=7).out == ""
    labs.wait(lambda: "started" in project.compose("logs", "worker").out, "the log of the worker")
    listed = project.compose("ps").out
    assert "two_web_1" in listed
    assert listed.count("Up") == 2
    assert "httpd" in project.compose("top", "web").out
    project.compose("exec", "-T", "web", "sh", "-c", "echo kept > /data/file")
    project.compose("down", "--timeout", "0")
    assert project.containers() == {}
    assert "two_data" in lab.docker("volume", "ls", "-q").lines
    project.compose("up", "--detach")
    assert project.compose("exec", "-T", "web", "cat", "/data/file").out == "kept\n"
    project.compose("down", "--volumes", "--timeout", "0")
    assert "two_data" not in lab.docker("volume", "ls", "-q").lines


def test_services_are_stopped_started_restarted_and_paused(project: Project) -> None:
    project.compose("up", "--detach")
    first = project.containers()["worker"]["Id"]
    project.compose("restart", "--timeout", "0", "worker")
    assert project.states()["worker"] == "running"
    project.compose("pause", "web")
    assert project.states() == {"web": "paused", "worker": "running"}
    project.compose("unpause", "web")
    project.compose("stop", "--timeout", "0")
    assert project.states() == {"web": "exited", "worker": "exited"}
    project.compose("start")
    assert project.states() == {"web": "running", "worker": "running"}
    project.compose("kill", "worker")
    labs.wait(lambda: project.states()["worker"] == "exited", "the killed worker")
    project.compose("rm", "--force", "worker")
    assert set(project.states()) == {"web"}
    project.compose("up", "--detach")
    assert project.containers()["worker"]["Id"] != first


def test_only_what_changed_is_made_anew(project: Project) -> None:
    """Compose compares a hash in the labels, and takes over the old container's volumes."""
    project.compose("up", "--detach")
    before = {service: one["Id"] for service, one in project.containers().items()}
    project.compose("up", "--detach")
    assert {service: one["Id"] for service, one in project.containers().items()} == before
    project.write(restart="always")
    project.compose("up", "--detach", "--timeout", "0")
    after = {service: one["Id"] for service, one in project.containers().items()}
    assert after["web"] == before["web"]
    assert after["worker"] != before["worker"]


def test_a_service_is_scaled_and_runs_once(project: Project) -> None:
    project.compose("up", "--detach", "--scale", "worker=2")
    assert len(project.compose("ps", "-q", "worker").lines) == 2
    assert project.compose("run", "--rm", "-T", "worker", "echo", "once").out == "once\n"
    assert project.compose("run", "--rm", "-T", "worker", "sh", "-c", "exit 5", check=5).out == ""
