"""Docker Swarm on lab hosts for comparison: Debian's dockerd instead of coveyd, with the same measurements.

Invariant: the hosts are those of a Covey lab (namespaces, switch, disks), so only the engine differs. ``covey lab down`` removes these labs too.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from covey.errors import AlreadyExistsError
from node.lab import api, cluster, network
from node.lab import host as machine
from node.lab.layout import Lab, LabHost
from tests.bench.subject import Subject

ROOT = Path(__file__).resolve().parents[2]
ENGINE_SECONDS = 60.0
INSTALL_SECONDS = 600.0


class Swarm(Subject):
    """A swarm of dockerd hosts."""

    def start(self, host: LabHost) -> None:
        machine.remove_cgroups(host.cgroup)
        network.connect_host(self.lab, host)
        _boot(host)


@contextlib.contextmanager
def swarm_lab(lab: Lab, image_bytes: int) -> Iterator[Swarm]:
    """Hosts with dockerd in one swarm, with the image and the network; always torn down."""
    install()
    if lab.record.exists():
        raise AlreadyExistsError(f"lab {lab.name} already exists: 'covey lab down --name {lab.name}' removes it")
    lab.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lab.record.write_bytes(msgspec.json.encode(lab))
    try:
        network.create_switch(lab)
        for host in lab.hosts:
            network.connect_host(lab, host)
        with ThreadPoolExecutor(max_workers=len(lab.hosts)) as pool:
            list(pool.map(_boot, lab.hosts))
        cluster.form_cluster(lab)
        subject = Swarm(lab)
        subject.prepare(image_bytes)
        yield subject
    finally:
        cluster.down(lab)


def install() -> None:
    """Install Debian's docker.io, without starting its service."""
    subprocess.run([ROOT / "scripts/setup", "--peer"], check=True, timeout=INSTALL_SECONDS)


def _boot(host: LabHost) -> None:
    machine.boot(host)
    arguments = [
        f"--data-root={host.state_dir}/docker",
        "--exec-root=/run/docker",
        "--pidfile=/run/docker.pid",
        f"--host=unix://{host.socket}",
        f"--cgroup-parent={host.cgroup}",
        "--storage-driver=overlay2",
        "--exec-opt=native.cgroupdriver=cgroupfs",
    ]
    with host.log.open("ab") as log:
        subprocess.run(
            machine.command_inside(host, ["setsid", "--fork", "dockerd", *arguments]),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": "/root"},
        )
    machine.wait_until(lambda: api.answers(host.socket), f"dockerd on {host.name} (see {host.log})", ENGINE_SECONDS)
