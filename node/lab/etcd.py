"""etcd members of a lab with ``--store etcd``: one process per member, in the switch's namespace, reachable from all hosts.

Invariant: status is read from the kernel and from files, as for hosts. A member's data survive its death. Blocking.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from covey.errors import NotFoundError
from node.lab.host import read_environment_file, start_time, wait_until
from node.lab.layout import GATEWAY, EtcdMember, Lab

READY_SECONDS = 30.0
STOP_SECONDS = 10.0


def start_all(lab: Lab) -> None:
    """Start all members and wait until they answer.

    Raises:
        NotFoundError: etcd is not installed; DeadlineError: they do not start in time.
    """
    if lab.etcd and not (shutil.which("etcd") and shutil.which("etcdctl")):
        raise NotFoundError("a lab on etcd needs etcd and etcdctl: apt-get install etcd-server etcd-client")
    for member in lab.etcd_members:
        start(lab, member)
    for member in lab.etcd_members:
        wait_until(lambda member=member: answers(lab, member), f"etcd member {member.name}", READY_SECONDS)  # type: ignore[misc]


def start(lab: Lab, member: EtcdMember) -> None:
    """Start one member with its existing data."""
    member.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    cluster = ",".join(f"{one.name}={one.peer_url}" for one in lab.etcd_members)
    command = [
        "etcd", "--name", member.name, "--data-dir", str(member.folder / "data"),
        "--listen-client-urls", member.client_url, "--advertise-client-urls", member.client_url,
        "--listen-peer-urls", member.peer_url, "--initial-advertise-peer-urls", member.peer_url,
        "--initial-cluster", cluster, "--initial-cluster-token", lab.name, "--log-level", "error",
    ]  # fmt: skip
    with (member.folder / "log").open("ab") as log:
        process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{lab.switch}", "--", *command],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
            env={**os.environ, **read_environment_file(member.environment_file)},
        )  # fmt: skip
    member.pid_file.write_text(f"{process.pid} {start_time(process.pid)}\n")


def answers(lab: Lab, member: EtcdMember) -> bool:
    """Whether the member serves reads, which needs a quorum."""
    return run_etcdctl(lab, "get", "ready", members=(member,)).returncode == 0


def run_etcdctl(
    lab: Lab, *arguments: str, members: Sequence[EtcdMember] = (), stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run etcdctl against these members, or against all."""
    endpoints = ",".join(f"{GATEWAY}:{member.port}" for member in members or lab.etcd_members)
    return subprocess.run(
        ["nsenter", f"--net=/run/netns/{lab.switch}", "--", "etcdctl", f"--endpoints={endpoints}", *arguments],
        env={**os.environ, "ETCDCTL_API": "3"}, input=stdin, capture_output=True, check=False, timeout=30,
    )  # fmt: skip


def pid(member: EtcdMember) -> int | None:
    """The pid of the member's process, None if it is dead."""
    try:
        number, started = member.pid_file.read_text().split()
        return int(number) if start_time(int(number)) == started and not _is_zombie(int(number)) else None
    except (OSError, ValueError):
        return None


def _is_zombie(number: int) -> bool:
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def send_signal(member: EtcdMember, number: signal.Signals) -> None:
    """Send a signal: SIGSTOP suspends the member, SIGCONT resumes it.

    Raises:
        NotFoundError: it is not running.
    """
    member_pid = pid(member)
    if member_pid is None:
        raise NotFoundError(f"etcd member {member.name} is not running")
    os.kill(member_pid, number)


def kill(member: EtcdMember) -> None:
    """Kill a member, if it runs. Its data are kept."""
    member_pid = pid(member)
    if member_pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(member_pid, signal.SIGKILL)
    wait_until(lambda: pid(member) is None, f"the end of etcd member {member.name}", STOP_SECONDS)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(member_pid, 0)


def remove_all(lab: Lab) -> None:
    """Kill all members and remove their data."""
    for member in lab.etcd_members:
        kill(member)
        shutil.rmtree(member.folder, ignore_errors=True)
