"""Debian's docker-registry on the network of a lab, at 192.168.77.254:5000, where every host reaches it without TLS."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from node.lab.layout import GATEWAY, Lab
from tests.support import labs
from tests.support.labs import LabCluster

REGISTRY = f"{GATEWAY}:5000"


@contextlib.contextmanager
def registry(lab: Lab, folder: Path, *, credentials: tuple[str, str] | None = None) -> Iterator[None]:
    """Run the registry, with its data below the folder; with ``credentials`` (user, password) it asks for them."""
    config: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": REGISTRY},
    }
    if credentials is not None:
        (folder / "htpasswd").write_text(labs.run(["htpasswd", "-Bbn", *credentials]).out)
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    (folder / "registry.yml").write_text(json.dumps(config))  # YAML reads JSON
    command = ["nsenter", f"--net=/run/netns/{lab.switch}", "docker-registry", "serve", str(folder / "registry.yml")]
    environment = {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process,
    ):
        try:
            yield
        finally:
            process.kill()


@contextlib.contextmanager
def running_lab_with_registry(
    word: str,
    managers: int,
    workers: int,
    folder: Path,
    *,
    init_cluster: bool = True,
    archive: Path | None = None,
    credentials: tuple[str, str] | None = None,
) -> Iterator[LabCluster]:
    """A lab whose hosts take images from the registry; with ``credentials`` (user, password) it asks for them."""
    planned = Lab(labs.lab_name(word), managers, workers)
    planned.folder.mkdir(parents=True, mode=0o700)
    planned.registries_file.write_text(f'insecure-registries = ["{REGISTRY}"]\n')
    with (
        labs.running_lab(word, managers, workers, init_cluster=init_cluster, archive=archive) as lab,
        registry(lab.lab, folder, credentials=credentials),
    ):
        labs.wait(lambda: lab.outside("curl", "-s", f"http://{REGISTRY}/v2/", check=None).code == 0, "the registry")
        yield lab
