"""Docker Swarm on lab hosts for comparison: Debian's dockerd instead of coveyd, with the same measurements.

Invariant: the hosts are those of a Covey lab (namespaces, switch, disks), so only the engine differs. ``covey lab down`` removes these labs too.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from node.lab import cluster, network
from node.lab import host as machine
from node.lab.layout import Lab, LabHost
from tests.bench.subject import Subject
from tests.support import real_engine

ROOT = Path(__file__).resolve().parents[2]
INSTALL_SECONDS = 600.0


class Swarm(Subject):
    """A swarm of dockerd hosts."""

    def start(self, host: LabHost) -> None:
        machine.remove_cgroups(host.cgroup)
        network.connect_host(self.lab, host)
        real_engine.boot(host)


@contextlib.contextmanager
def swarm_lab(lab: Lab, image_bytes: int) -> Iterator[Swarm]:
    """Hosts with dockerd in one swarm, with the image and the network; always torn down."""
    install()
    with real_engine.running(lab):
        cluster.form_cluster(lab)
        subject = Swarm(lab)
        subject.prepare(image_bytes)
        yield subject


def install() -> None:
    """Install Debian's docker.io, without starting its service."""
    subprocess.run([ROOT / "scripts/setup", "--peer"], check=True, timeout=INSTALL_SECONDS)
