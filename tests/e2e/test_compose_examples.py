"""The files in ``examples/compose`` do what their READMEs and comments say, by ``covey compose`` on a host and by ``covey stack`` on a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, CommandResult, LabCluster, wait

pytestmark = pytest.mark.root

EXAMPLES = Path(__file__).parents[2] / "examples" / "compose"
COVEY = labs.PYTHON_BIN / "covey"


class Application:
    """Examples on one host that is also a cluster; ``kind`` says whether they are a project of the host or a stack of the cluster."""

    def __init__(self, lab: LabCluster, kind: str) -> None:
        self.lab, self.kind = lab, kind
        self.example = ""

    def covey(self, *arguments: str, check: int | None = 0, **variables: str) -> CommandResult:
        environment = {**self.lab.environment(), "IMAGE": IMAGE, **variables}
        return labs.run([COVEY, *arguments], check=check, env=environment, cwd=EXAMPLES / self.example)

    def up(self, example: str, *options: str, **variables: str) -> str:
        """Start an example, or change the running one."""
        self.example = example
        if self.kind == "host":
            command = ["compose", "--project-name", "example", "up", "--detach", "--timeout", "0", *options]
        else:
            command = [
                "stack",
                "deploy",
                "--detach",
                "--resolve-image",
                "never",
                "-c",
                "compose.yaml",
                *options,
                "example",
            ]
        done = self.covey(*command, **variables)
        return done.out + done.err

    def down(self, *, volumes: bool) -> None:
        if self.kind == "host":
            options = ["--volumes"] if volumes else []
            self.covey("compose", "--project-name", "example", "down", "--timeout", "0", *options)
        else:
            self.covey("stack", "rm", "example")
            wait(lambda: not self.lab.docker("ps", "--all", "--quiet").lines, "the end of the containers")
        if volumes:
            self.lab.docker("volume", "prune", "--all", "--force")

    def containers(self, service: str, count: int = 1) -> list[str]:
        """Wait until exactly so many containers of a service run. Returns their IDs."""
        label = (
            ("com.docker.compose.service", service)
            if self.kind == "host"
            else ("com.docker.swarm.service.name", f"example_{service}")
        )
        command = ("ps", "--quiet", "--no-trunc", "--filter", f"label={label[0]}={label[1]}")
        found: list[str] = []

        def all_run() -> bool:
            found[:] = self.lab.docker(*command).lines
            return len(found) == count

        wait(all_run, f"{count} containers of {service}")
        return found

    def execute(self, service: str, *command: str) -> CommandResult:
        """Run a command in the only container of a service."""
        return self.lab.docker("exec", self.containers(service)[0], *command, check=None)

    def page(self, service: str, url: str, expected: str) -> None:
        """Wait until a container gets these lines from another one."""
        fetch = ("wget", "-q", "-O", "-", url)
        wait(lambda: self.execute(service, *fetch).out == expected, f"{service} gets {expected!r} from {url}")

    def published(self, port: int, expected: str) -> None:
        """Wait until a client outside gets these lines through a published port."""
        url = f"http://{self.lab[1].address}:{port}/"
        wait(
            lambda: self.lab.outside("curl", "-s", "-m", "3", url, check=None).out == expected,
            f"{expected!r} from {url}",
        )


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("examples", 1, archive=images) as found:
        yield found


@pytest.fixture(params=["host", "cluster"])
def application(lab: LabCluster, request: pytest.FixtureRequest) -> Iterator[Application]:
    made = Application(lab, request.param)
    yield made
    made.down(volumes=True)
    assert not lab.docker("ps", "--all", "--quiet").lines
    assert not lab.docker("volume", "ls", "--quiet").lines


def test_networks_separate_services_and_a_volume_outlives_its_container(application: Application) -> None:
    application.up("networks-and-volumes")
    application.page("client", "http://web/", "welcome\n")
    application.page("web", "http://store/starts", "started\n")
    refused = application.execute("client", "wget", "-q", "-O", "-", "http://store/starts")
    assert refused.code != 0
    assert "bad address" in refused.err
    application.down(volumes=False)
    application.up("networks-and-volumes")
    application.page("web", "http://store/starts", "started\nstarted\n")


def test_services_start_after_what_they_depend_on(application: Application) -> None:
    said = application.up("depends-on")
    application.published(8091, "migrated\n")
    if application.kind == "cluster":
        assert "depends_on" not in said, "the managers keep it"
        failed = [task for task in application.lab.get("/tasks") if task["Status"]["State"] in ("failed", "rejected")]
        assert not failed
    else:
        assert not application.lab.docker("ps", "--all", "--quiet", "--filter", "exited=1").lines


def test_variables_come_from_the_files_unless_the_shell_has_them(application: Application) -> None:
    application.up("env-file")
    application.published(8092, "hello from the file web.env\n")
    application.up("env-file", GREETING="good morning")
    application.published(8092, "good morning from the file web.env\n")


def test_a_secret_is_a_file_of_the_service_that_names_it(application: Application) -> None:
    application.up("secrets")
    secrets = application.execute("web", "sh", "-c", "cat /run/secrets/password /run/secrets/database_password")
    assert secrets.lines == ["change-me", "change-me"]
    assert "colour = blue" in application.execute("web", "cat", "/etc/settings.ini").out
    assert application.execute("other", "ls", "/run/secrets").code != 0
    shown = application.lab.docker("inspect", *application.containers("web")).out
    assert "change-me" not in shown


def answering(application: Application, count: int) -> set[str]:
    """The host names that the client gets under the name of the service, when so many containers run."""
    application.containers("web", count)
    if application.kind == "host":
        command = "nslookup web 2>/dev/null | grep -A9 web | grep -c Address"
        wait(
            lambda: application.execute("client", "sh", "-c", command).out == f"{count}\n", f"{count} addresses of web"
        )
    fetch = f"for i in $(seq {4 * count}); do wget -q -O - http://web/; done"
    found: set[str] = set()

    def all_answer() -> bool:
        found.clear()
        found.update(application.execute("client", "sh", "-c", fetch).lines)
        return len(found) == count

    wait(all_answer, f"{count} containers answer as web")
    return found


def test_a_service_is_scaled_at_the_command_line(application: Application) -> None:
    if application.kind == "host":
        application.up("scale", "--scale", "web=3")
    else:
        application.up("scale")
        application.covey("service", "scale", "--detach", "example_web=3")
    assert len(answering(application, 3)) == 3


def test_the_number_of_replicas_stands_in_the_file(application: Application) -> None:
    application.up("replicas")
    names = answering(application, 3)
    assert names == {identity[:12] for identity in application.containers("web", 3)}
    for found in json.loads(application.lab.docker("inspect", *application.containers("web", 3)).out):
        assert found["HostConfig"]["Memory"] == 32 * 2**20
    application.up("replicas")
    assert answering(application, 3) == names, "a second start changes nothing"


def test_an_image_is_built_from_the_file(application: Application) -> None:
    """On the cluster the image is the one that ``compose build`` made, and ``build`` is named as ignored."""
    name = "127.0.0.1:5000/site"
    for tag in ("1", "2"):
        if application.kind == "host":
            application.up("build", "--build", TAG=tag)
        else:
            application.example = "build"
            application.covey("compose", "build", TAG=tag)
            assert "Ignoring unsupported options: build" in application.up("build", TAG=tag)
        application.published(8093, f"<h1>Version {tag}</h1>\n")
        application.lab.docker("image", "inspect", f"{name}:{tag}")
    application.down(volumes=True)
    application.lab.docker("rmi", f"{name}:1", f"{name}:2")
