"""docker-compose 1.29 drives the networks of a host: the default one of a project, and more that the project names."""

import json
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
    stop_signal: SIGKILL
    networks:
      default: {}
      back:
        aliases: [front-door]
        ipv4_address: 10.81.0.50
  worker:
    image: covey-test:1
    command: ["sleep", "1000000"]
    stop_signal: SIGKILL
    depends_on: [web]
  store:
    image: covey-test:1
    command: ["sleep", "1000000"]
    stop_signal: SIGKILL
    networks: [back, outside]
networks:
  back:
    internal: true
    driver_opts:
      com.docker.network.driver.mtu: "1400"
    ipam:
      config:
        - subnet: 10.81.0.0/24
  outside:
    external: true
    name: shared
"""


class Project:
    """A Compose project on a host without a cluster."""

    def __init__(self, lab: LabCluster, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        (folder / "docker-compose.yml").write_text(COMPOSE_FILE)

    def compose(self, *arguments: str, check: int | None = 0) -> CommandResult:
        command = ["docker-compose", "--ansi", "never", "--project-name", "nets", *arguments]
        return labs.run(command, check=check, env=self.lab.environment(), cwd=self.folder)

    def reaches(self, service: str, target: str) -> bool:
        command = ["exec", "-T", service, "ping", "-c", "1", "-W", "1", target]
        return self.compose(*command, check=None).code == 0

    def networks(self) -> list[str]:
        return sorted(self.lab.docker("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}").lines)


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("compnet", 1, init_cluster=False, archive=images) as found:
        found.docker("network", "create", "shared")
        yield found


@pytest.fixture
def project(lab: LabCluster, tmp_path: Path) -> Iterator[Project]:
    made = Project(lab, tmp_path)
    yield made
    made.compose("down", "--timeout", "0", check=None)
    assert made.networks() == ["shared"]


def test_services_find_one_another_on_their_networks_by_name(project: Project) -> None:
    project.compose("up", "--detach")
    assert project.networks() == ["nets_back", "nets_default", "shared"]
    page = project.compose("exec", "-T", "worker", "wget", "-q", "-O", "-", "http://web/")
    assert page.out.strip() == "ok"
    assert project.reaches("store", "front-door")
    assert project.reaches("store", "10.81.0.50")
    assert project.reaches("web", "store")
    assert not project.reaches("worker", "store")
    assert project.reaches("web", "nets_worker_1")


def test_a_project_is_scaled_changed_and_taken_down_with_its_networks(project: Project, lab: LabCluster) -> None:
    project.compose("up", "--detach", "--scale", "worker=3")
    found = project.compose("exec", "-T", "web", "nslookup", "-type=a", "worker").out
    assert found.count("Address: 172.") == 3
    back = json.loads(lab.docker("network", "inspect", "nets_back").out)[0]
    assert (back["Internal"], back["Labels"]["com.docker.compose.network"]) == (True, "back")
    assert {item["IPv4Address"] for item in back["Containers"].values()} >= {"10.81.0.50/24"}
    project.compose("up", "--detach", "--scale", "worker=1")
    project.compose("run", "--rm", "-T", "worker", "ping", "-c", "1", "web")
    project.compose("down", "--timeout", "0")
    assert project.networks() == ["shared"]
    assert lab.docker("ps", "-aq").lines == []
