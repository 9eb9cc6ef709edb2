"""``covey`` logs in to a real registry with a password, pushes, pulls with a bar for each layer, and logs out."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.lab import cluster
from node.lab.layout import GATEWAY
from tests.support import labs
from tests.support.labs import IMAGE, CommandResult, LabCluster
from tests.support.registry import PASSWORD, USER

pytestmark = pytest.mark.root

COVEY = labs.PYTHON_BIN / "covey"
REGISTRY = f"{GATEWAY}:5000"
APP = f"{REGISTRY}/private/app:1"
SECONDS = 30


@pytest.fixture(scope="module")
def host(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCluster]:
    """One host in no cluster, and a registry with a password on its network."""
    folder = tmp_path_factory.mktemp("registry")
    with labs.running_lab("regcli", 1, init_cluster=False) as lab, registry(lab, folder):
        lab.lab.registries_file.write_text(f'insecure-registries = ["{REGISTRY}"]\n')
        cluster.crash(lab.hosts[0])
        lab.start(lab.hosts[0])
        lab.load(images)
        yield lab


@contextlib.contextmanager
def registry(lab: LabCluster, folder: Path) -> Iterator[None]:
    (folder / "htpasswd").write_text(labs.run(["htpasswd", "-Bbn", USER, PASSWORD]).out)
    config = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "auth": {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}},
        "http": {"addr": REGISTRY},
    }
    (folder / "registry.yml").write_text(json.dumps(config))
    network = f"--net=/run/netns/{lab.lab.switch}"
    command = ["nsenter", network, "docker-registry", "serve", str(folder / "registry.yml")]
    environment = {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process,
    ):
        try:
            yield
        finally:
            process.kill()


def covey(lab: LabCluster, home: Path, *arguments: str, check: int | None = 0, **options: Any) -> CommandResult:
    environment = {**lab.environment(), "DOCKER_CONFIG": str(home)}
    return labs.run([COVEY, *arguments], check=check, env=environment, **options)


def test_login_push_pull_and_logout(host: LabCluster, tmp_path: Path) -> None:
    home = tmp_path / "home"
    covey(host, home, "tag", IMAGE, APP)
    assert "no basic auth credentials" in covey(host, home, "push", APP, check=1).err
    wrong = covey(host, home, "login", "-u", USER, "--password-stdin", REGISTRY, stdin=b"wrong", check=1)
    assert "unauthorized" in wrong.err.lower()
    assert not (home / "config.json").exists()
    said = covey(host, home, "login", "-u", USER, "--password-stdin", REGISTRY, stdin=f"{PASSWORD}\n".encode())
    assert said.out == "Login Succeeded\n"
    assert "stored unencrypted" in said.err
    pushed = covey(host, home, "push", APP).lines
    assert pushed[0] == f"The push refers to repository [{REGISTRY}/private/app]"
    digest = re.search(r"digest: (sha256:[0-9a-f]{64})", pushed[-1])
    assert digest is not None
    covey(host, home, "rmi", APP)
    pulled = covey(host, home, "pull", f"{REGISTRY}/private/app@{digest[1]}").lines
    assert f"Digest: {digest[1]}" in pulled
    assert pulled[-1] == f"{REGISTRY}/private/app@{digest[1]}"
    ran = covey(host, home, "run", "--rm", "--pull", "always", APP, "echo", "hello")
    assert ran.out == "hello\n"
    assert "Pulling from private/app" in ran.err
    assert covey(host, home, "logout", REGISTRY).out == f"Removing login credentials for {REGISTRY}\n"
    covey(host, home, "rmi", "-f", APP)
    assert "no basic auth credentials" in covey(host, home, "pull", APP, check=1).err


def test_a_pull_on_a_terminal_draws_a_line_for_each_layer(host: LabCluster, tmp_path: Path) -> None:
    home = tmp_path / "home"
    covey(host, home, "login", "-u", USER, "--password-stdin", REGISTRY, stdin=PASSWORD.encode())
    covey(host, home, "tag", IMAGE, APP)
    covey(host, home, "push", "-q", APP)
    covey(host, home, "image", "prune", "-af")
    process, terminal = pty.fork()
    if process == 0:
        try:
            os.execve(COVEY, [str(COVEY), "pull", APP], {**host.environment(), "DOCKER_CONFIG": str(home)})
        finally:
            os._exit(99)  # the child must never return into the tests
    seen = read_all(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    layers = set(re.findall(r"([0-9a-f]{12}): Pull complete", seen))
    assert layers
    for layer in layers:  # the line was there before and was drawn again in place
        assert re.search(
            rf"{layer}: (Pulling fs layer|Downloading|Extracting).*\x1b\[\d+A\r\x1b\[2K{layer}: ", seen, re.DOTALL
        )
    assert seen.rstrip().endswith(APP)


def read_all(terminal: int) -> str:
    seen, deadline = b"", time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                data = os.read(terminal, 4096)
            except OSError:  # the command has ended
                os.close(terminal)
                return seen.decode()
            seen += data
    raise AssertionError(seen)
