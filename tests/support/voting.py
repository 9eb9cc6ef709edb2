"""The example ``examples/voting-app`` on a lab: its images in the lab's registry, and its pages as a client outside sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from node.lab.layout import LabHost
from tests.support import labs
from tests.support.lab_registry import REGISTRY
from tests.support.labs import LabCluster
from tests.support.python_image import python_file_system

FOLDER = Path(__file__).parents[2] / "examples" / "voting-app"
BASE = f"{REGISTRY}/python:3"
WEB_PORT, VISUALISER_PORT = 8080, 8081


def push_base_image(lab: LabCluster, folder: Path) -> None:
    """Put the stand-in for ``python:3-alpine`` into the registry, and on no host."""
    (folder / "python.tar").write_bytes(python_file_system())
    lab.docker("import", str(folder / "python.tar"), BASE)
    lab.docker("push", "-q", BASE)
    lab.docker("rmi", BASE)


def environment(lab: LabCluster, on: LabHost | None = None, tag: str = "1") -> dict[str, str]:
    """What a user would export before working with the example's files."""
    path = f"{labs.PYTHON_BIN}:{lab.environment()['PATH']}"
    return {**lab.environment(on), "PATH": path, "REGISTRY": REGISTRY, "PYTHON": BASE, "TAG": tag}


def link_engine_sockets(lab: LabCluster) -> None:
    """Give every host its socket at the usual path."""
    for host in lab.hosts:
        lab.inside(host, "sh", "-c", f"mkdir -p /run/covey && ln -sf {host.socket} /run/covey/covey.sock")


def fetch(lab: LabCluster, host: LabHost, path: str, *options: str, port: int = WEB_PORT) -> str:
    """What a client outside gets through this host; empty if nothing answers with success."""
    return lab.outside("curl", "-s", "-f", "-m", "3", *options, f"http://{host.address}:{port}{path}", check=None).out


def results(lab: LabCluster, host: LabHost) -> dict[str, Any]:
    """The results as the web server shows them; empty while it cannot."""
    shown: dict[str, Any] = json.loads(fetch(lab, host, "/results") or "{}")
    return shown


def votes(lab: LabCluster, host: LabHost) -> dict[str, int]:
    found: dict[str, int] = results(lab, host).get("votes", {})
    return found


def vote(lab: LabCluster, host: LabHost, choice: str) -> None:
    """Vote through this host, as often as it takes until a web server accepts it."""
    command = ("-d", f"choice={choice}", "-o", "/dev/null", "-w", "%{http_code}")
    labs.wait(lambda: fetch(lab, host, "/vote", *command) == "303", f"a vote for {choice} is accepted")


def tasks_by_host(lab: LabCluster, host: LabHost) -> dict[str, list[str]]:
    """What the visualiser shows; empty while it does not answer."""
    shown: dict[str, list[str]] = json.loads(fetch(lab, host, "/nodes", port=VISUALISER_PORT) or "{}")
    return shown
