"""The real Docker Compose 5 and ``covey compose`` drive a host with all of their commands, by the same tests."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import labs
from tests.support.labs import CommandResult, LabCluster
from tests.support.real_compose import compose_program

pytestmark = pytest.mark.root

COMPOSE_FILE = """
services:
  web:
    image: covey-test:1
    command: sh -c 'echo started; exec httpd -f -p 80 -h /www'
    stop_signal: SIGKILL
    ports: ["8320:80"]
    depends_on: {db: {condition: service_healthy}}
    networks: [front, back]
    volumes: ["data:/data", "./site:/site:ro"]
    secrets: [password]
    configs: [{source: settings, target: /etc/settings}]
  db:
    image: covey-test:1
    command: sleep 1000000
    stop_signal: SIGKILL
    healthcheck: {test: "true", interval: 1s}
    networks: [back]
  job:
    image: covey-test:1
    command: echo finished
    profiles: [tools]
    networks: [back]
networks: {front: , back: {internal: true}}
volumes: {data: }
secrets: {password: {file: ./password.txt}}
configs: {settings: {content: "from the file"}}
"""


class Project:
    """A project on a host without a cluster. ``program`` is the client: ``docker`` for the real Compose, or ``covey``."""

    def __init__(self, lab: LabCluster, folder: Path, program: str) -> None:
        self.lab, self.folder = lab, folder
        self.program = [compose_program()] if program == "docker" else [labs.PYTHON_BIN / "covey", "compose"]
        (folder / "compose.yaml").write_text(COMPOSE_FILE)
        (folder / "password.txt").write_text("sesame")
        (folder / "site").mkdir()
        (folder / "site" / "page").write_text("a page")

    def compose(self, *arguments: str, check: int | None = 0) -> CommandResult:
        command = [*self.program, "--ansi", "never", "--progress", "plain", "--project-name", "real", *arguments]
        return labs.run(command, check=check, env=self.lab.environment(), cwd=self.folder)

    def states(self) -> dict[str, str]:
        """The state of each container."""
        lines = self.compose("ps", "--all", "--format", "json").lines
        return {item["Name"]: item["State"] for item in map(json.loads, lines)}

    def inspect(self, name: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self.lab.docker("inspect", name).out)
        return found[0]


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("realcomp", 1, init_cluster=False, archive=images) as found:
        yield found


@pytest.fixture(params=["docker", "covey"])
def project(lab: LabCluster, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Project]:
    made = Project(lab, tmp_path, request.param)
    made.compose("up", "--detach", "--wait")
    yield made
    made.compose("--profile", "tools", "down", "--volumes", "--timeout", "0")
    assert not lab.docker("ps", "--all", "--quiet").lines
    assert not lab.docker("network", "ls", "--filter", "type=custom", "--quiet").lines
    assert not lab.docker("volume", "ls", "--quiet").lines


def test_a_project_comes_up_in_order_and_a_second_up_changes_nothing(project: Project) -> None:
    assert project.states() == {"real-db-1": "running", "real-web-1": "running"}
    inspected = {name: project.inspect(name) for name in ("real-db-1", "real-web-1")}
    said = project.compose("up", "--detach").err
    assert "Creating" not in said
    assert "Recreate" not in said
    for name, before in inspected.items():
        assert project.inspect(name)["State"]["StartedAt"] == before["State"]["StartedAt"]
    planned = project.compose("--dry-run", "up", "--detach", "--force-recreate").err
    assert "real-web-1 Recreated" in planned
    assert project.inspect("real-web-1")["Id"] == inspected["real-web-1"]["Id"]


def test_services_have_their_files_ports_and_output(project: Project) -> None:
    read = project.compose("exec", "-T", "web", "cat", "/run/secrets/password", "/etc/settings", "/site/page").out
    assert read == "sesamefrom the filea page"
    assert project.compose("port", "web", "80").out.strip() == "0.0.0.0:8320"
    assert project.compose("logs", "--no-color", "web").out.strip() == "web-1  | started"
    assert "httpd" in project.compose("top", "web").out
    assert project.compose("images", "--format", "json").out.count("covey-test") == 2
    assert [item["Name"] for item in json.loads(project.compose("ls", "--format", "json").out)] == ["real"]
    assert "real_data" in project.compose("volumes").out
    assert "real-web-1" in project.compose("stats", "--no-stream").out
    project.compose("cp", "web:/etc/settings", "copied")
    assert (project.folder / "copied").read_text() == "from the file"
    project.compose("export", "web", "--output", "web.tar")
    assert (project.folder / "web.tar").stat().st_size > 10_000
    assert "Committed as sha256:" in project.compose("commit", "web", "committed:1").err
    project.lab.docker("image", "rm", "committed:1")


def test_containers_are_run_scaled_and_moved_through_their_states(project: Project) -> None:
    assert project.compose("run", "--rm", "-T", "web", "echo", "hello").out.strip() == "hello"
    assert project.compose("run", "--rm", "-T", "job").out.strip() == "finished"
    project.compose("scale", "db=2")
    assert project.states()["real-db-2"] == "running"
    project.compose("pause", "db")
    assert project.states() == {"real-db-1": "paused", "real-db-2": "paused", "real-web-1": "running"}
    project.compose("unpause", "db")
    project.compose("restart", "--timeout", "0", "db")
    project.compose("stop", "--timeout", "0", "web")
    assert project.states()["real-web-1"] == "exited"
    project.compose("start", "web")
    project.compose("kill", "db")
    assert project.states() == {"real-db-1": "exited", "real-db-2": "exited", "real-web-1": "running"}
    project.compose("rm", "--force", "db")
    project.compose("create")
    assert project.states() == {"real-db-1": "created", "real-web-1": "running"}


def test_what_changed_in_the_file_is_recreated_and_orphans_go(project: Project) -> None:
    before = project.inspect("real-db-1")["Id"]
    text = COMPOSE_FILE.replace("echo started", "echo changed").replace("profiles: [tools]", "stop_signal: SIGKILL")
    (project.folder / "compose.yaml").write_text(text)
    project.compose("up", "--detach", "--timeout", "0")
    assert project.inspect("real-db-1")["Id"] == before
    assert project.compose("logs", "--no-color", "--no-log-prefix", "web").out.strip() == "changed"
    assert "exited with status code 0" in project.compose("wait", "job").out
    (project.folder / "compose.yaml").write_text(COMPOSE_FILE)
    project.compose("up", "--detach", "--remove-orphans", "--timeout", "0")
    assert project.states().keys() <= {"real-db-1", "real-web-1", "real-job-1"}


def test_a_changed_volume_is_made_anew_when_that_was_agreed_to(project: Project) -> None:
    project.compose("exec", "-T", "web", "sh", "-c", "echo kept > /data/file")
    (project.folder / "compose.yaml").write_text(COMPOSE_FILE.replace("{data: }", "{data: {labels: {new: label}}}"))
    project.compose("up", "--detach")
    assert project.compose("exec", "-T", "web", "cat", "/data/file").out == "kept\n"
    project.compose("up", "--detach", "--yes", "--timeout", "0")
    assert project.compose("exec", "-T", "web", "ls", "/data").out == ""
    assert json.loads(project.lab.docker("volume", "inspect", "real_data").out)[0]["Labels"]["new"] == "label"


def test_images_are_pulled_and_missing_ones_are_named(project: Project) -> None:
    said = project.compose("pull", "web", check=1).err
    assert "covey-test:1" in said
    assert project.compose("events", "--json", "--since", "1h", "--until", "0s", check=None).code in (0, 1)


def test_both_clients_see_and_take_over_each_others_projects(lab: LabCluster, tmp_path: Path) -> None:
    covey = Project(lab, tmp_path, "covey")
    covey.compose("up", "--detach", "--wait")
    docker = Project.__new__(Project)
    docker.lab, docker.folder, docker.program = lab, tmp_path, [compose_program()]
    assert docker.states() == covey.states() == {"real-db-1": "running", "real-web-1": "running"}
    started = covey.inspect("real-web-1")["State"]["StartedAt"]
    docker.compose("up", "--detach")
    assert covey.inspect("real-web-1")["State"]["StartedAt"] == started
    docker.compose("stop", "--timeout", "0", "web")
    covey.compose("start", "web")
    assert docker.states()["real-web-1"] == "running"
    docker.compose("down", "--volumes", "--timeout", "0")
    assert not covey.states()


def test_lists_are_printed_as_by_docker_compose(lab: LabCluster, tmp_path: Path) -> None:
    """On one host both clients say the same; only moments and orders that Docker Compose leaves open differ."""
    covey = Project(lab, tmp_path, "covey")
    docker = Project.__new__(Project)
    docker.lab, docker.folder, docker.program = lab, tmp_path, [compose_program()]
    covey.compose("up", "--detach", "--wait")
    for words in (
        "port web 80",
        "port web",
        "port --protocol udp web",
        "port db",
        "ls",
        "ls --format json",
        "ls -q",
        "volumes",
        "top",
    ):
        assert covey.compose(*words.split()).out == docker.compose(*words.split()).out, words
    assert covey.compose("images", "-q").out == docker.compose("images", "-q").out
    tables = [[line.partition("B  ")[0] for line in client.compose("images").lines] for client in (covey, docker)]
    assert sorted(tables[0]) == sorted(tables[1])  # up to the size; the age follows
    assert _listed(covey, "images") == _listed(docker, "images")
    labs.wait(
        lambda: _listed(covey, "ps") == _listed(docker, "ps"), "the same rows; a container may have changed in between"
    )
    said = docker.compose("port", "web", "99", check=1).err.strip()
    assert covey.compose("port", "web", "99", check=1).err.strip() == f"covey: {said}"
    covey.compose("exec", "-it", "web", "true")
    covey.compose("down", "--volumes", "--timeout", "0")


def _listed(project: Project, verb: str) -> list[dict[str, Any]]:
    """The JSON rows of a list, without moments, labels in order."""
    out = project.compose(verb, "--format", "json").out
    rows = json.loads(out) if out.startswith("[") else [json.loads(line) for line in out.splitlines()]
    for row in rows:
        for key in ("RunningFor", "Status"):
            row.pop(key, None)
        if "Labels" in row:
            row["Labels"] = sorted(row["Labels"].split(","))
    return sorted(rows, key=lambda row: row.get("Name") or row["ContainerName"])


BUILD_FILE = """
services:
  app:
    build:
      context: ./app
      args: {WORD: built}
      target: final
    image: built-app:1
    command: cat /word
"""
DOCKERFILE = """FROM covey-test:1 AS first
ARG WORD
RUN echo "$WORD" > /word
FROM covey-test:1 AS final
COPY --from=first /word /word
"""


def test_services_are_built(lab: LabCluster, tmp_path: Path) -> None:
    project = Project(lab, tmp_path, "covey")
    (tmp_path / "compose.yaml").write_text(BUILD_FILE)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "Dockerfile").write_text(DOCKERFILE)
    project.compose("up", "--build", "--detach")
    project.compose("wait", "app", check=None)
    assert project.compose("logs", "--no-log-prefix", "app").out.strip() == "built"
    project.compose("build", "app")
    assert project.compose("push", check=1).err.count("built-app:1")
    project.compose("down", "--timeout", "0")
