"""What the docker-container driver of ``docker buildx`` asks of an engine: a builder is an ordinary privileged container.

BuildKit's image is not to be had without the internet, so busybox does by hand what buildkitd does: overlay mounts on the state volume, cgroups,
namespaces with mounts of their own, and a stream of bytes over ``exec``, on which buildx speaks gRPC.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root
NAME = "buildx_buildkit_lab0"
STREAM_BYTES = 4 << 20
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
STEP = """set -e
cd /var/lib/buildkit
mkdir -p lower upper work root
echo base > lower/file
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay root
unshare -m -p -f -u sh -ec 'mkdir root/proc; mount -t proc proc root/proc; echo changed > root/file; hostname step'
test "$(cat upper/file)" = changed
umount root
hostname
"""


@pytest.fixture(scope="module")
def builder(images: Path) -> Iterator[LabCluster]:
    """A host with a container as buildx creates and starts it."""
    with labs.running_lab("buildx", 1, init_cluster=False, archive=images) as lab:
        lab.docker(
            *("create", "--name", NAME, "--privileged", "--init", "--restart", "unless-stopped"),
            *("--cgroup-parent", "/docker/buildx", "--mount", f"type=volume,src={NAME}_state,dst=/var/lib/buildkit"),
            *(IMAGE, "sleep", "1000000"),
        )
        lab.docker("cp", "-", f"{NAME}:/", stdin=configuration())
        lab.docker("start", NAME)
        yield lab
        lab.docker("rm", "-f", "-v", NAME)
        lab.docker("volume", "rm", f"{NAME}_state")


def configuration() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as packed:
        data = b"debug = true\n"
        entry = tarfile.TarInfo("etc/buildkit/buildkitd.toml")
        entry.size = len(data)
        packed.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def test_files_are_put_into_the_container_before_it_starts(builder: LabCluster) -> None:
    assert builder.docker("exec", NAME, "cat", "/etc/buildkit/buildkitd.toml").out == "debug = true\n"


def test_a_step_runs_on_overlays_and_in_namespaces_inside_the_container(builder: LabCluster) -> None:
    name = builder.docker("inspect", "-f", "{{.Config.Hostname}}", NAME).out
    assert builder.docker("exec", NAME, "sh", "-c", STEP).out == name


def test_the_container_makes_cgroups_of_its_own(builder: LabCluster) -> None:
    script = "cd /sys/fs/cgroup; test -d memory && cd memory; mkdir step && test -e step/cgroup.procs && rmdir step"
    builder.docker("exec", NAME, "sh", "-ec", script)


def test_exec_carries_bytes_both_ways_until_one_side_ends(builder: LabCluster) -> None:
    data = os.urandom(STREAM_BYTES)
    command = ["docker", "exec", "-i", NAME, "sh", "-c", "cat; echo >&2 ended"]
    with subprocess.Popen(command, env=builder.environment(), **PIPES) as running:
        out, err = running.communicate(data, timeout=60)
    assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()
    assert (err, running.returncode) == (b"ended\n", 0)
