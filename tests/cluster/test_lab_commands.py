"""The ``covey lab`` command line: up, ls, env, exec, cut, heal, crash, kill, start, down; labs side by side; cleanup."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab import cluster
from node.lab import host as machine
from node.lab.layout import Lab
from tests.support import labs
from tests.support.labs import PYTHON_BIN, CommandResult, LabCluster

pytestmark = pytest.mark.root


def covey_lab(*arguments: str, check: int | None = 0) -> CommandResult:
    return labs.run(
        [PYTHON_BIN / "python", "-m", "node.lab", *arguments],
        check=check,
        env={**os.environ, "COVEY_HOST": "unix:///nowhere"},
    )


def lab_ls(*names: str) -> dict[str, list[str]]:
    """Columns of ``lab ls`` for these labs, by host."""
    rows = [line.split() for line in covey_lab("ls").lines[1:]]
    return {row[0]: row[1:] for row in rows if row[1] in names}


@pytest.fixture
def name() -> Iterator[str]:
    lab = labs.lab_name("verbs")
    yield lab
    for found in cluster.labs():
        if found.name == lab:
            cluster.down(found)


def test_every_lab_command_on_one_lab(name: str) -> None:
    up = covey_lab("up", "--name", name, "--managers", "1", "--workers", "1")
    assert up.lines == [f"{name}-1", f"{name}-2"]
    assert lab_ls(name) == {
        f"{name}-1": [name, "manager", "192.168.77.1", "running"],
        f"{name}-2": [name, "worker", "192.168.77.2", "running"],
    }
    again = covey_lab("up", "--name", name, check=1)
    assert "exists already" in again.err

    exports = covey_lab("env", f"{name}-1").out
    assert [line.split("=")[0] for line in exports.splitlines()] == ["export DOCKER_HOST", "export COVEY_HOST"]
    shell = "eval " + shlex.quote(exports) + "; docker node ls --format '{{.Hostname}} {{.Status}} {{.ManagerStatus}}'"
    nodes = labs.run(["sh", "-c", shell]).lines
    assert sorted(line.split() for line in nodes) == [[f"{name}-1", "Ready", "Leader"], [f"{name}-2", "Ready"]]

    found = LabCluster(Lab(name, 1, 1))
    assert covey_lab("exec", f"{name}-2", "--", "hostname").out.strip() == f"{name}-2"
    assert covey_lab("exec", f"{name}-2", "--", "sh", "-c", "exit 7", check=7).code == 7
    assert "192.168.77.2" in covey_lab("exec", f"{name}-2", "--", "ip", "-4", "addr", "show", "eth0").out
    # exec sets the variables of env, so docker inside a host talks to that host.
    assert covey_lab("exec", f"{name}-2", "--", "docker", "info", "-f", "{{.Name}}").out.strip() == f"{name}-2"

    covey_lab("cut", f"{name}-2")
    assert lab_ls(name)[f"{name}-2"][-1] == "cut"
    covey_lab("exec", f"{name}-2", "--", "ping", "-c1", "-W1", "192.168.77.1", check=1)
    covey_lab("heal", f"{name}-2")
    labs.wait(
        lambda: covey_lab("exec", f"{name}-2", "--", "ping", "-c1", "-W1", "192.168.77.1", check=None).code == 0,
        "a ping through the healed cable",
    )

    covey_lab("crash", f"{name}-2")
    assert lab_ls(name)[f"{name}-2"][-1] == "crashed"
    covey_lab("exec", f"{name}-2", "--", "true")
    covey_lab("start", f"{name}-2")
    mac = covey_lab("exec", f"{name}-2", "--", "cat", "/sys/class/net/eth0/address").out
    covey_lab("kill", f"{name}-2")
    assert lab_ls(name)[f"{name}-2"][-1] == "dead"
    assert "not running" in covey_lab("exec", f"{name}-2", "--", "true", check=1).err
    assert "not running" in covey_lab("kill", f"{name}-2", check=1).err
    covey_lab("start", f"{name}-2")
    # The MAC address stays the same: peers may cache it for another half a minute.
    assert covey_lab("exec", f"{name}-2", "--", "cat", "/sys/class/net/eth0/address").out == mac
    found.wait_ready()
    assert "is already running" in covey_lab("start", f"{name}-2", check=1).err

    covey_lab("down", "--name", name)
    assert lab_ls(name) == {}
    assert [line for line in labs.leftovers(os.getpid()) if name in line] == []
    assert "no lab" in covey_lab("down", "--name", name, check=1).err


def test_invalid_lab_options_are_refused_and_leave_nothing_behind(name: str) -> None:
    for arguments in (["--managers", "7", "--workers", "4"], ["--managers", "0"], ["--name", "Not_A_Name"]):
        refused = covey_lab("up", "--name", name, *arguments, check=None)
        assert refused.code in (1, 2), arguments
        assert refused.err.strip(), arguments
    assert "no lab host nobody-1" in covey_lab("kill", "nobody-1", check=1).err
    assert lab_ls(name) == {}
    assert [line for line in labs.leftovers(os.getpid()) if name in line] == []


def test_two_labs_side_by_side_are_isolated() -> None:
    with labs.running_lab("left", 1) as left, labs.running_lab("right", 1) as right:
        secret = labs.unique("secret")
        left.docker("secret", "create", secret, "-", stdin=b"left")
        assert left.docker("secret", "ls", "-q").out.strip()
        assert right.docker("secret", "ls", "-q").out.strip() == ""
        clusters = {found.get("/swarm")["ID"] for found in (left, right)}
        assert len(clusters) == 2
        # Both labs use the same addresses on two switches: a listener of one is not reachable from the other.
        server = subprocess.Popen(machine.command_inside(left[1], ["busybox", "nc", "-l", "-p", "7777"]))
        try:
            labs.wait(lambda: ":7777" in left.inside(left[1], "ss", "-ltn").out, "the listener")
            probe = ["busybox", "nc", "-w", "1", "192.168.77.1", "7777"]
            assert right.inside(right[1], *probe, check=None).code != 0
            assert left.inside(left[1], *probe, check=None, stdin=b"x").code == 0
        finally:
            server.kill()
            server.wait()


def test_a_lab_that_fails_to_start_is_torn_down(name: str) -> None:
    """A host folder that cannot be written stands for every failure between the first namespace and the last node."""
    blocked = Path("/var/lib/covey-lab") / name / f"{name}-2"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("not a folder")
    try:
        with pytest.raises(OSError, match=f"{name}-2"):
            cluster.up(Lab(name, 1, 1))
    finally:
        blocked.unlink(missing_ok=True)
        if blocked.parent.is_dir():
            blocked.parent.rmdir()
    assert [line for line in labs.leftovers(os.getpid()) if name in line] == []
