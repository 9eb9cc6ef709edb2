"""docker-compose 1.29 drives the networks of a host: the default one of a project, more that the project names, and published ports."""

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, CommandResult, LabCluster

pytestmark = pytest.mark.root

COMPOSE_FILE = """
version: "2.4"
services:
  web:
    image: covey-test:1
    command: ["httpd", "-f", "-p", "80", "-h", "/www"]
    stop_signal: SIGKILL
    ports: ["8300:80", "127.0.0.1:8301:80", "8310-8311:80-81/tcp"]
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


def fetch(url: str, run: Callable[..., CommandResult]) -> str:
    return run("curl", "-s", "-m", "3", url, check=None).out.strip()


def test_published_ports_answer_while_the_project_is_up(project: Project, lab: LabCluster) -> None:
    """Outside, on the host and from another network of the host; a second project cannot have the port."""
    host = lab[1]
    inside = functools.partial(lab.inside, host)
    project.compose("up", "--detach", "web")
    for url in (f"http://{host.address}:8300/", f"http://{host.address}:8310/"):
        assert fetch(url, lab.outside) == "ok"
    for url in ("http://127.0.0.1:8300/", "http://[::1]:8300/", "http://127.0.0.1:8301/"):
        assert fetch(url, inside) == "ok"
    assert fetch(f"http://{host.address}:8301/", lab.outside) == ""
    assert project.compose("port", "web", "80").out.strip() in {"0.0.0.0:8300", "127.0.0.1:8301", "0.0.0.0:8310"}
    elsewhere = lab.docker(
        "run", "--rm", "--network", "shared", IMAGE, "wget", "-q", "-O", "-", f"http://{host.address}:8300/"
    )
    assert elsewhere.out == "ok\n"
    taken = lab.docker("run", "--rm", "-p", "8300:80", IMAGE, "true", check=None)
    assert taken.code == 125
    assert "Bind for 0.0.0.0:8300 failed: port is already allocated (by nets_web_1)" in taken.err
    project.compose("down", "--timeout", "0")
    assert fetch(f"http://{host.address}:8300/", lab.outside) == ""
    lab.docker("run", "--rm", "-p", "8300:80", IMAGE, "true")


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
