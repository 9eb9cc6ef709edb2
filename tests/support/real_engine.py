"""Docker's own engine (Debian's dockerd) on lab hosts, as an independent judge of what Docker does.

Invariant: the hosts are those of a Covey lab (namespaces, switch, disk), so only the engine differs. ``covey lab down`` removes them too.
Called by tests that compare answers, and by ``tests.bench`` for figures of Docker Swarm.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec

from covey.errors import AlreadyExistsError
from node.lab import api, cluster, network
from node.lab import host as machine
from node.lab.layout import Lab, LabHost

START_SECONDS = 60.0


@contextlib.contextmanager
def running(lab: Lab) -> Iterator[Lab]:
    """A lab whose hosts run dockerd, without a swarm; always torn down."""
    if lab.record.exists():
        raise AlreadyExistsError(f"lab {lab.name} already exists: 'covey lab down --name {lab.name}' removes it")
    lab.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lab.record.write_bytes(msgspec.json.encode(lab))
    try:
        network.create_switch(lab)
        for host in lab.hosts:
            network.connect_host(lab, host)
        with ThreadPoolExecutor(max_workers=len(lab.hosts)) as pool:
            list(pool.map(boot, lab.hosts))
        yield lab
    finally:
        cluster.down(lab)


def boot(host: LabHost, *options: str) -> None:
    """Start a host with dockerd and these options. Returns when the daemon answers.

    Raises:
        DeadlineError: it did not in time; the message names its log.
    """
    machine.boot(host)
    arguments = [
        f"--data-root={host.state_dir}/docker",
        "--exec-root=/run/docker",
        "--pidfile=/run/docker.pid",
        f"--host=unix://{host.socket}",
        f"--cgroup-parent={host.cgroup}",
        "--storage-driver=overlay2",
        "--exec-opt=native.cgroupdriver=cgroupfs",
        *options,
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
    machine.wait_until(lambda: api.answers(host.socket), f"dockerd on {host.name} (see {host.log})", START_SECONDS)
