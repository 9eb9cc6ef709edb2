"""Images between nodes: a task's node gets its image from another node, and a registry is asked once for all."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab import cluster
from node.lab.layout import GATEWAY, LabHost
from tests.support import labs
from tests.support.image_archives import image, write_archive
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root

PORT = 7946
REGISTRY = f"{GATEWAY}:5000"


@pytest.fixture(scope="module")
def three(images: Path) -> Iterator[LabCluster]:
    """A manager and two workers. Only the manager has the test images."""
    with labs.running_lab("share", 1, 2) as lab:
        lab.load(images, lab.managers[0])
        yield lab
        for host in lab.hosts:
            assert "Traceback" not in host.log.read_text()


def image_id(lab: LabCluster, name: str, host: LabHost) -> str:
    found = lab.docker("image", "inspect", "--format", "{{.Id}}", name, on=host, check=None)
    return found.out.strip() if found.code == 0 else ""


def covey(lab: LabCluster, *arguments: str, check: int | None = 0) -> labs.CommandResult:
    return labs.run([labs.PYTHON_BIN / "covey", *arguments], check=check, env=lab.environment())


def load_new_image(lab: LabCluster, host: LabHost, folder: Path, name: str) -> str:
    """Load an image that no other host has. Returns its id."""
    made = image({"bin/busybox": Path("/bin/busybox").read_bytes(), "seed": secrets.token_bytes(64)})
    lab.load(write_archive(folder / "image.tar", made, name), host)
    return made.id


def fetch_as(lab: LabCluster, node: LabHost, source: LabHost, wanted: str, *options: str) -> str:
    """HTTP status of a request for an image that `node` sends to `source` with curl, 000 if TLS failed."""
    hexadecimal = wanted.removeprefix("sha256:")
    server = lab.node_id(source)
    return lab.inside(
        node, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10", *options,
        "--cacert", str(node.state_dir / "identity/root.crt"), "--connect-to", f"{server}:{PORT}:{source.address}:{PORT}",
        f"https://{server}:{PORT}/v2/{hexadecimal}/manifests/image", check=None,
    ).out.strip()  # fmt: skip


def own_certificate(node: LabHost) -> tuple[str, ...]:
    folder = node.state_dir / "identity"
    return "--cert", str(folder / "node.crt"), "--key", str(folder / "node.key")


def test_an_image_of_one_node_runs_on_all_without_a_registry(three: LabCluster) -> None:
    expected = image_id(three, IMAGE, three.managers[0])
    three.service("everywhere", "--mode", "global")
    three.running("everywhere", 3)
    assert {image_id(three, IMAGE, host) for host in three.hosts} == {expected}
    three.docker("service", "rm", "everywhere")


def test_an_image_that_nobody_has_is_refused_with_the_registrys_error(three: LabCluster) -> None:
    three.service("nowhere", "--restart-condition", "none", image="no/such:1")

    def error() -> str:
        return three.docker("service", "ps", "--no-trunc", "--format", "{{.CurrentState}} {{.Error}}", "nowhere").out

    found = labs.wait(lambda: error() if "Rejected" in error() else "", "the rejection")
    assert "registry-1.docker.io" in found
    three.docker("service", "rm", "nowhere")


def test_push_to_and_the_list_of_the_cluster(three: LabCluster, tmp_path: Path) -> None:
    manager, *workers = three.hosts
    made = load_new_image(three, manager, tmp_path, "tool:1")
    done = covey(three, "image", "push-to", "tool:1", *(host.name for host in workers))
    assert sorted(done.lines) == sorted(host.name for host in workers)
    assert {image_id(three, "tool:1", host) for host in workers} == {made}

    def listed() -> str:
        lines = covey(three, "image", "ls", "--cluster").lines
        return next((line for line in lines if line.startswith("tool ")), "")

    assert labs.wait(lambda: all(host.name in listed() for host in three.hosts), "all nodes in the list")
    failed = covey(three, "image", "push-to", "tool:1", "nobody", check=None)
    assert (failed.code, "nobody" in failed.err) == (1, True)


def test_a_node_serves_images_to_nodes_that_need_them_only(three: LabCluster, tmp_path: Path) -> None:
    manager, worker, other = three.hosts
    made = load_new_image(three, manager, tmp_path, "private:1")
    assert fetch_as(three, worker, manager, made) == "000", "a caller without a certificate is not answered"
    assert fetch_as(three, worker, manager, made, *own_certificate(worker)) == "403"
    three.service(
        "private",
        "--constraint",
        f"node.hostname=={worker.name}",
        image="private:1",
        command=("/bin/busybox", "sleep", "1000"),
    )
    three.running("private", 1)
    assert image_id(three, "private:1", worker) == made
    assert fetch_as(three, worker, manager, made, *own_certificate(worker)) == "200"
    assert fetch_as(three, other, manager, made, *own_certificate(other)) == "403"
    three.docker("service", "rm", "private")


@pytest.fixture
def registry_log(three: LabCluster, tmp_path: Path) -> Iterator[Path]:
    """A registry on the lab's network, and its log."""
    config, log = tmp_path / "registry.yml", tmp_path / "registry.log"
    config.write_text(
        json.dumps(
            {
                "version": "0.1",
                "log": {"level": "info"},
                "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
                "http": {"addr": REGISTRY},
            }
        )
    )
    three.lab.registries_file.write_text(f'insecure-registries = ["{REGISTRY}"]\n')
    for host in three.hosts:
        cluster.crash(host)
    three.start(*three.hosts)
    three.wait_ready()
    with (
        log.open("wb") as output,
        subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{three.lab.switch}", "docker-registry", "serve", str(config)],
            stdout=output, stderr=output, env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        ) as process,
    ):  # fmt: skip
        labs.wait(lambda: "listening on" in log.read_text(), "the registry")
        yield log
        process.kill()


def test_a_registry_is_asked_once_for_all_nodes(three: LabCluster, registry_log: Path, tmp_path: Path) -> None:
    manager, name = three.managers[0], f"{REGISTRY}/app:1"
    load_new_image(three, manager, tmp_path, name)
    three.docker("push", "-q", name, on=manager)
    three.docker("rmi", name, on=manager)
    three.docker("image", "prune", "-f", on=manager)
    before = registry_log.stat().st_size
    three.service("app", "--mode", "global", image=name, command=("/bin/busybox", "sleep", "1000"))
    three.running("app", 3)
    text = registry_log.read_text()[before:]
    layers = re.findall(r'"GET /v2/app/blobs/(sha256:[0-9a-f]{64})', text)
    assert layers, text
    assert len(layers) == len(set(layers)), "a blob was downloaded from the registry more than once"
    three.docker("service", "rm", "app")
