"""Ansible playbook: it turns hosts with ssh into a cluster, and a second run changes nothing."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab import api, cluster
from node.lab import host as machine
from node.lab.layout import Lab

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LAB = Lab("tansible", 3, 1)
SSHD = """
Port 22
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
"""


@pytest.fixture
def hosts_with_ssh(tmp_path: Path) -> Iterator[Path]:
    """A lab without a cluster whose hosts run sshd. Yields the folder with the keys."""
    for key in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / key], check=True)
    config = tmp_path / "sshd_config"
    config.write_text(SSHD.format(folder=tmp_path))
    with cluster.running(LAB, init_cluster=False):
        servers = []
        for host in LAB.hosts:
            line = f"mkdir -p /run/sshd && exec /usr/sbin/sshd -D -e -f {config}"
            servers.append(
                subprocess.Popen(machine.command_inside(host, ["sh", "-c", line]), stderr=subprocess.DEVNULL)
            )
        try:
            yield tmp_path
        finally:
            for server in servers:
                server.kill()
                server.wait()


def inventory(folder: Path) -> Path:
    def entry(number: int) -> dict[str, object]:
        host = LAB.hosts[number]
        return {
            "ansible_host": host.address,
            "covey_advertise_addr": host.address,
            "covey_command": f"/usr/bin/env COVEY_HOST=unix://{host.socket} {BIN / 'covey'}",
        }

    def group(numbers: range) -> dict[str, object]:
        return {"hosts": {LAB.hosts[number].name: entry(number) for number in numbers}}

    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    content = {
        "managers": group(range(3)),
        "workers": group(range(3, 4)),
        "all": {
            "vars": {
                "ansible_user": "root",
                "ansible_become": False,
                "ansible_ssh_private_key_file": str(folder / "user_key"),
                "ansible_ssh_args": "-o ControlMaster=no",
                "ansible_ssh_common_args": options,
                "ansible_python_interpreter": "/usr/bin/python3",
                "covey_install": False,
            }
        },
    }
    path = folder / "inventory.yml"
    path.write_text(json.dumps(content))
    return path


def run_playbook(folder: Path) -> str:
    """Run the playbook in the network namespace of the switch, as a controller in the same network would."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
    command = [BIN / "ansible-playbook", "-vv", "-i", inventory(folder), ROOT / "ansible/site.yml"]
    done = subprocess.run(
        ["nsenter", f"--net=/run/netns/{LAB.switch}", "--", *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def changed_counts(output: str) -> dict[str, int]:
    return {name: int(count) for name, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", output, re.MULTILINE)}


def test_the_playbook_creates_a_cluster_and_a_second_run_changes_nothing(hosts_with_ssh: Path) -> None:
    first = run_playbook(hosts_with_ssh)
    assert changed_counts(first) == {host.name: 1 for host in LAB.hosts}
    nodes = api.call(LAB.hosts[0].socket, "GET", "/nodes")
    assert cluster.all_ready(nodes, LAB)

    second = run_playbook(hosts_with_ssh)
    assert changed_counts(second) == {host.name: 0 for host in LAB.hosts}
    assert "SWMTKN" not in first + second
    left = (
        [path for path in Path("/root/.ansible").rglob("*") if path.is_file()]
        if Path("/root/.ansible").exists()
        else []
    )
    assert not [path for path in left if b"SWMTKN" in path.read_bytes()]
