"""``compose watch`` on a host: changes of files on the client's side are seen in the containers. Both clients, by the same tests."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import CommandResult, LabCluster
from tests.support.real_compose import compose_program

pytestmark = pytest.mark.root

COMPOSE_FILE = """
name: watched
services:
  web:
    image: watched-web:1
    build: ./app
    command: sh -c 'echo "serving $$(cat /word)"; exec sleep 1000000'
    stop_signal: SIGKILL
    develop:
      watch:
        - {action: sync, path: ./app/src, target: /src, ignore: ["*.log", node_modules/], initial_sync: true}
        - {action: rebuild, path: ./app/word}
        - {action: sync+restart, path: ./app/conf, target: /conf}
        - {action: sync+exec, path: ./app/ex, target: /ex, exec: {command: cp /ex/a /reloaded}}
  db:
    image: covey-test:1
    command: sleep 1000000
    stop_signal: SIGKILL
"""
DOCKERFILE = "FROM covey-test:1\nCOPY word /word\n"


class WatchedProject:
    """A project whose files are watched by a running client."""

    def __init__(self, lab: LabCluster, folder: Path, program: str) -> None:
        self.lab, self.folder, self.covey = lab, folder, program == "covey"
        client = [labs.PYTHON_BIN / "covey", "compose"] if self.covey else [compose_program()]
        self.command = [*map(str, client), "--ansi", "never", "--progress", "plain"]
        self.src = folder / "app" / "src"
        for name in ("src/deep", "conf", "ex"):
            (folder / "app" / name).mkdir(parents=True)
        (folder / "compose.yaml").write_text(COMPOSE_FILE)
        (folder / "app/Dockerfile").write_text(DOCKERFILE)
        (folder / "app/.dockerignore").write_text("**/*.tmp\n")
        (folder / "app/word").write_text("one")
        (self.src / "first").write_text("there before")

    def compose(self, *arguments: str, check: int | None = 0) -> CommandResult:
        return labs.run([*self.command, *arguments], check=check, env=self.lab.environment(), cwd=self.folder)

    @contextlib.contextmanager
    def watching(self, *arguments: str) -> Iterator[Path]:
        """Run ``watch`` or ``up --watch`` until it watches; yields the file of its output."""
        output = self.folder / "output"
        with output.open("wb") as file:
            process = subprocess.Popen(  # where the tests run in the background, an interrupt is ignored
                ["env", "--default-signal=INT", *self.command, *arguments],
                env=self.lab.environment(),
                cwd=self.folder,
                stdout=file,
                stderr=file,
            )
        try:
            labs.wait(lambda: "Watch enabled" in output.read_text() or process.poll() is not None, "the watch")
            assert process.poll() is None, output.read_text()
            yield output
        except AssertionError as error:
            error.add_note(output.read_text())
            raise
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)

    def inside(self, *command: str, check: int | None = 0) -> str:
        return self.lab.docker("exec", "watched-web-1", *command, check=check).out

    def wait_inside(self, path: str, content: str | None) -> None:
        """Wait until a file of the container has this content; None means that it is gone."""

        def as_wanted() -> bool:
            ran = self.lab.docker("exec", "watched-web-1", "cat", path, check=None)
            return ran.code != 0 and "No such file" in ran.err if content is None else ran.out == content

        labs.wait(as_wanted, f"{path} to be {content!r}")

    def container_id(self) -> str:
        return self.lab.docker("inspect", "-f", "{{.Id}}", "watched-web-1").out.strip()

    def image_id(self) -> str:
        return self.lab.docker("inspect", "-f", "{{.Image}}", "watched-web-1").out.strip()

    def started(self) -> str:
        return self.lab.docker("inspect", "-f", "{{.State.StartedAt}}", "watched-web-1").out.strip()


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("watch", 1, init_cluster=False, archive=images) as found:
        yield found


@pytest.fixture(params=["docker", "covey"])
def project(lab: LabCluster, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[WatchedProject]:
    found = WatchedProject(lab, tmp_path, request.param)
    yield found
    found.compose("down", "--volumes", "--timeout", "0")
    assert not lab.docker("ps", "--all", "--quiet").lines


def test_changed_and_removed_files_are_seen_in_the_container(project: WatchedProject) -> None:
    """Also those of editors, which write another file and rename it, and those of ``git checkout``, which are many."""
    src = project.src
    with project.watching("watch"):
        container = project.container_id()
        project.wait_inside("/src/first", "there before")
        (src / "deep/new").write_text("new")
        project.wait_inside("/src/deep/new", "new")
        (src / "deep/new.tmp1").write_text("newer")
        (src / "deep/new.tmp1").replace(src / "deep/new")
        project.wait_inside("/src/deep/new", "newer")
        (src / "first").unlink()
        project.wait_inside("/src/first", None)

        for name in ("a.log", "node_modules", "scratch.tmp"):
            (src / name).write_text("ignored")
        (src / "many").mkdir()
        for number in range(400):
            (src / "many" / str(number)).write_text(str(number))
        project.wait_inside("/src/many/399", "399")
        labs.wait(lambda: len(project.inside("ls", "/src/many").split()) == 400, "all of the files")
        assert project.inside("ls", "/src").split() == ["deep", "many"]

        shutil.rmtree(src / "many")
        project.wait_inside("/src/many/399", None)
        assert project.container_id() == container


def test_a_rebuild_makes_a_new_container_of_a_new_image(project: WatchedProject) -> None:
    with project.watching("watch", "web"):
        container, image = project.container_id(), project.image_id()
        (project.folder / "app/word").write_text("two")
        labs.wait(
            lambda: project.lab.docker("exec", "watched-web-1", "cat", "/word", check=None).out == "two",
            "the new image",
        )
        assert project.container_id() != container
        assert project.image_id() != image
        if project.covey:  # Docker Compose gives such images no label, and removes none
            labs.wait(lambda: not dangling_images(project.lab), "the end of the replaced image")
    assert len(project.lab.docker("ps", "--quiet").lines) == 1  # the project goes on, and web needs nothing else


def dangling_images(lab: LabCluster) -> list[str]:
    label = "label=com.docker.compose.project=watched"
    return lab.docker("images", "--quiet", "--filter", "dangling=true", "--filter", label).lines


def test_a_restart_or_a_command_follows_a_copy(project: WatchedProject) -> None:
    with project.watching("watch"):
        started, container = project.started(), project.container_id()
        (project.folder / "app/conf/a").write_text("configured")
        labs.wait(lambda: project.started() > started, "the restart")
        project.wait_inside("/conf/a", "configured")
        assert project.container_id() == container
        started = project.started()
        (project.folder / "app/ex/a").write_text("reload")
        project.wait_inside("/reloaded", "reload")
        assert project.started() == started


def test_up_watches_too_and_follows_the_containers_that_it_makes_anew(project: WatchedProject) -> None:
    with project.watching("up", "--watch") as output:
        labs.wait(lambda: "serving one" in output.read_text(), "the output of the first container")
        (project.folder / "app/word").write_text("three")
        labs.wait(lambda: "serving three" in output.read_text(), "the output of the new container")
        (project.src / "late").write_text("late")
        project.wait_inside("/src/late", "late")
    assert not project.lab.docker("ps", "--quiet").lines


def test_what_cannot_be_watched_is_refused(project: WatchedProject) -> None:
    said = project.compose("watch", "--no-up", "db", check=1).err
    assert "none of the selected services is configured for watch, consider setting a 'develop' section" in said
    assert "no such service: nope" in project.compose("watch", "nope", check=1).err
    assert "--watch" in project.compose("up", "--watch", "--detach", check=1).err
    (project.folder / "compose.yaml").write_text(COMPOSE_FILE.replace(", target: /conf", ""))
    assert "target is required for non-rebuild actions" in project.compose("watch", check=1).err
    text = COMPOSE_FILE.replace("build: ./app", "volumes: ['./app:/app']")
    (project.folder / "compose.yaml").write_text(text)
    said = project.compose("watch", "--no-up", check=1).err
    assert 'can\'t watch service "web" with action rebuild without a build context' in said
    (project.folder / "compose.yaml").write_text(COMPOSE_FILE)
    assert not project.lab.docker("ps", "--all", "--quiet").lines


def test_a_copy_that_fails_is_reported_and_the_watch_goes_on(lab: LabCluster, tmp_path: Path) -> None:
    project = WatchedProject(lab, tmp_path, "covey")
    with project.watching("watch") as output:
        lab.docker("exec", "watched-web-1", "sh", "-c", "rm -rf /src; touch /src")
        (project.src / "a").write_text("a")
        labs.wait(lambda: "Error handling changed files" in output.read_text(), "the report")
        lab.docker("exec", "watched-web-1", "rm", "/src")
        (project.src / "b").write_text("b")
        project.wait_inside("/src/b", "b")
        os.mkfifo(project.src / "pipe")
        labs.wait(lambda: "pipe" in project.inside("ls", "/src"), "the pipe")
    project.compose("down", "--timeout", "0")
