"""A busy image port: `docker info` and `covey info` say that the node serves no images, until the port is free."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.coveyd_process import running

pytestmark = pytest.mark.root
LISTENER = (
    "import socket; s = socket.socket(); s.bind(('127.0.0.1', 7946)); s.listen(); print('serves', flush=True); input()"
)


def test_a_node_whose_image_port_is_in_use_says_so_until_it_is_free(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        command = ["nsenter", "--net", "--target", str(daemon.process.pid), "--", sys.executable, "-c", LISTENER]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            try:
                assert other.stdout is not None
                assert other.stdout.readline() == b"serves\n"
                daemon.docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1")
                words = "WARNING: this node serves no images to other nodes: port 7946: address already in use"
                daemon.wait_for(lambda: words in daemon.docker("info")[1], "the warning")
                program = str(Path(sys.executable).with_name("covey"))
                _, err = daemon.inside(program, "info", COVEY_HOST=f"unix://{daemon.socket}")
                assert "serves no images" in err
                assert "--image-port" in err
            finally:
                other.kill()
        daemon.wait_for(lambda: "serves no images" not in daemon.docker("info")[1], "the end of the warning")
        daemon.docker("swarm", "leave", "--force")
