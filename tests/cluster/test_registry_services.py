"""Services whose images are in a private registry: credentials reach the tasks, and its words reach the user."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab import cluster
from tests.support import labs
from tests.support.lab_registry import REGISTRY, registry
from tests.support.labs import IMAGE, SLEEP, LabCluster
from tests.support.registry import PASSWORD, USER

pytestmark = pytest.mark.root

APP = f"{REGISTRY}/private/app"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a docker client that is logged in."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def two(images: Path, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCluster]:
    """A manager and a worker, and a registry with a password on their network. Only the registry has the images."""
    folder = tmp_path_factory.mktemp("registry")
    with labs.running_lab("private", 1, 1) as lab, registry(lab.lab, folder, credentials=(USER, PASSWORD)):
        lab.lab.registries_file.write_text(f'insecure-registries = ["{REGISTRY}"]\n')
        for host in lab.hosts:
            cluster.crash(host)
        lab.start(*lab.hosts)
        lab.wait_ready()
        lab.load(images, lab.managers[0])
        login = lab.docker(
            "--config", str(home), "login", "-u", USER, "--password-stdin", REGISTRY, stdin=PASSWORD.encode()
        )
        assert "Login Succeeded" in login.out
        for tag in ("1", "2"):
            lab.docker("tag", IMAGE, f"{APP}:{tag}")
            lab.docker("--config", str(home), "push", "-q", f"{APP}:{tag}")
        lab.docker("rmi", f"{APP}:1", f"{APP}:2")
        yield lab
        for host in lab.hosts:
            assert "Traceback" not in host.log.read_text()
            assert PASSWORD not in host.log.read_text()


def rejected(lab: LabCluster, service: str) -> str:
    """The error of a service's first rejected task."""

    def found() -> str:
        command = (
            "service",
            "ps",
            "--no-trunc",
            "--filter",
            "desired-state=shutdown",
            "--format",
            "{{.Error}}",
            service,
        )
        return next(iter(lab.docker(*command).lines), "")

    return labs.wait(found, f"a rejected task of {service}").strip('"')


def create(lab: LabCluster, home: Path, *flags: str) -> None:
    lab.docker("--config", str(home), "service", "create", "-q", "-d", "--stop-signal", "SIGKILL", *flags, *SLEEP)


def test_a_service_without_credentials_shows_the_words_of_the_registry(two: LabCluster, home: Path) -> None:
    create(two, home, "--name", "bare", "--no-resolve-image", f"{APP}:1")
    error = rejected(two, "bare")
    assert error.startswith(f"No such image: {APP}:1: ")
    assert "no basic auth credentials" in error
    two.docker("service", "rm", "bare")
    create(two, home, "--name", "unknown", "--with-registry-auth", f"{APP}:nope")
    assert f"manifest for {APP}:nope not found: manifest unknown" in rejected(two, "unknown")
    two.docker("service", "rm", "unknown")


def test_credentials_of_the_client_reach_every_node_and_stay_with_updates(two: LabCluster, home: Path) -> None:
    create(two, home, "--name", "app", "--mode", "global", "--with-registry-auth", f"{APP}:1")
    two.running("app", 2)
    (service,) = two.json("service", "inspect", "app")
    image = service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
    assert image.startswith(f"{APP}:1@sha256:")
    text = two.docker("service", "inspect", "app").out + json.dumps(two.get("/tasks"))
    assert "egistryAuth" not in text
    assert PASSWORD not in text
    for host in two.hosts:
        (shown,) = two.json("image", "inspect", image, on=host)
        assert shown["RepoDigests"] == [image.replace(":1@", "@")]
    two.docker("service", "update", "-q", "-d", "--image", f"{APP}:2", "--no-resolve-image", "app")

    def updated() -> bool:
        command = (
            "service",
            "ps",
            "--filter",
            "desired-state=running",
            "--format",
            "{{.Image}} {{.CurrentState}}",
            "app",
        )
        rows = two.docker(*command).lines
        return len(rows) == 2 and all(row.startswith(f"{APP}:2 Running") for row in rows)

    labs.wait(updated, "every task runs the new image, pulled with the credentials of the first one")
    two.docker("service", "rm", "app")


def test_an_image_that_is_here_runs_while_its_registry_is_down(two: LabCluster, home: Path) -> None:
    worker = two.workers[0]
    name = "127.0.0.1:1/gone/app:1"
    two.docker("tag", IMAGE, name, on=two.managers[0])
    create(two, home, "--name", "gone", "--constraint", f"node.hostname!={worker.name}", name)
    two.running("gone", 1)
    two.docker("service", "rm", "gone")
