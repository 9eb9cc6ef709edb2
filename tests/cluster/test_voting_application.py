"""A stack of web server, worker, cache, database and visualiser, built from its Dockerfile, through all that users do to a stack.

The files are those of ``examples/voting-app``. The base image is a stand-in, in a registry on the lab's network.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import labs, voting
from tests.support.lab_registry import REGISTRY, running_lab_with_registry
from tests.support.labs import LabCluster, wait

pytestmark = pytest.mark.root

PARTS = {"cache": 1, "database": 1, "visualiser": 1, "web": 2, "worker": 1}
BUILD_SECONDS = 200.0
FILES = ("-c", "compose.yaml", "-c", "cluster.yaml")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCluster]:
    """Three managers and two workers; the registry has the images, and so has the manager that built them."""
    folder = tmp_path_factory.mktemp("voting")
    with running_lab_with_registry("voting", 3, 2, folder) as found:
        voting.push_base_image(found, folder)
        build(found)
        voting.link_engine_sockets(found)
        found.docker("node", "update", "--label-add", "database=yes", found.workers[0].name)
        yield found


def build(lab: LabCluster) -> None:
    """All images with ``covey``, and the second version of the web server with ``docker``."""
    command = ["covey", "compose", "build", "--push", "--quiet"]
    labs.run(command, env=voting.environment(lab), cwd=voting.FOLDER, timeout=BUILD_SECONDS)
    second = f"{REGISTRY}/voting-web:2"
    options = ("--target", "web", "--build-arg", f"PYTHON={voting.BASE}", "--build-arg", "VERSION=2")
    built = lab.docker("build", "-t", second, *options, str(voting.FOLDER), timeout=BUILD_SECONDS)
    assert built.out.count("Using cache") >= 4, "the stages of the first build are not built again"
    lab.docker("push", "-q", second)


@pytest.fixture(params=["covey", "docker"])
def program(lab: LabCluster, request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param
    lab.restore_all_hosts()
    lab.docker("stack", "rm", "voting")
    wait(lambda: not lab.get("/tasks"), "the end of the tasks")
    for host in lab.hosts:
        lab.docker("volume", "prune", "--all", "--force", on=host)


def deploy(lab: LabCluster, program: str, tag: str = "1") -> str:
    command = [program, "stack", "deploy", "--detach", *FILES, "voting"]
    done = labs.run(command, env=voting.environment(lab, tag=tag), cwd=voting.FOLDER)
    return done.out + done.err


def all_run(lab: LabCluster) -> None:
    for part, count in PARTS.items():
        lab.running(f"voting_{part}", count, seconds=60)


def test_five_parts_serve_through_a_lost_host_an_update_and_a_rollback(lab: LabCluster, program: str) -> None:
    said = deploy(lab, program)
    assert "build" in said, "what has no meaning on a cluster is listed"
    all_run(lab)
    first, last = lab.managers[0], lab.workers[1]

    # votes go from the web server through cache and worker into the database
    assert "Which pet?" in wait(lambda: voting.fetch(lab, last, "/"), "the ballot, through a node without a web server")
    for choice in ("cat", "cat", "dog"):
        voting.vote(lab, last, choice)
    wait(lambda: voting.votes(lab, first) == {"cat": 2, "dog": 1}, "the votes are counted")
    assert voting.results(lab, first)["visits"] >= 1
    assert "voting" not in voting.fetch(lab, first, "/vote", "-d", "choice=fish"), "not on the ballot"

    # the visualiser runs on a manager and shows what runs where
    (visualiser,) = lab.running("voting_visualiser", 1)
    assert lab.host_of(visualiser) in lab.managers
    shown = wait(lambda: voting.tasks_by_host(lab, last), "the visualiser")
    assert sorted(shown) == sorted(host.name for host in lab.hosts)
    assert shown[lab.workers[0].name].count("voting_database.1") == 1
    assert sorted(task for tasks in shown.values() for task in tasks if "web" in task) == [
        "voting_web.1",
        "voting_web.2",
    ]

    # a host with a web server loses its power
    victim = next(host for host in lab.hosts_of(lab.running("voting_web", 2)) if host != lab.workers[0])
    lab.kill(victim)
    through = next(host for host in reversed(lab.hosts) if host != victim)
    voting.vote(lab, through, "dog")
    wait(lambda: voting.votes(lab, through) == {"cat": 2, "dog": 2}, "a vote after the loss of a host")
    wait(lambda: victim not in lab.hosts_of(lab.running("voting_web", 2, seconds=60)), "two web servers on other hosts")
    all_run(lab)
    lab.start(victim)
    lab.wait_ready()

    # an update, and back
    deploy(lab, program, tag="2")
    only_version(lab, "2")
    assert voting.votes(lab, first) == {"cat": 2, "dog": 2}
    labs.run([program, "service", "rollback", "--detach", "voting_web"], env=voting.environment(lab))
    only_version(lab, "1")

    # the database's container ends; the votes are on its volume
    (database,) = lab.running("voting_database", 1)
    lab.docker("kill", lab.container(database), on=lab.host_of(database))
    wait(lambda: lab.running("voting_database", 1)[0]["ID"] != database["ID"], "another database")
    wait(lambda: voting.votes(lab, last) == {"cat": 2, "dog": 2}, "the votes after the database's restart")


def only_version(lab: LabCluster, version: str) -> None:
    """Wait until nothing but this version answers, over two requests through each node."""
    found: dict[str, set[str]] = {}

    def all_answer() -> bool:
        found.clear()
        for host in lab.hosts * 2:
            found.setdefault(host.name, set()).add(voting.results(lab, host).get("version", "no answer"))
        return all(answers == {version} for answers in found.values())

    try:
        wait(all_answer, f"version {version} through every node")
    except AssertionError as error:
        raise AssertionError(
            f"{error}; {found}\n{lab.docker('service', 'ps', '--no-trunc', 'voting_web').out}"
        ) from None
