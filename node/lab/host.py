"""Processes of a lab host: its process 1, which holds the namespaces, and its coveyd. Thin wrappers of nsenter and unshare."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from covey.errors import DeadlineError, NotFoundError
from node.lab.layout import GATEWAY, LabHost

START_SECONDS = 20.0
STOP_SECONDS = 20.0
INNER_PID_FILE = "run/covey/coveyd.pid"


def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until a condition holds.

    Raises:
        DeadlineError: it did not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DeadlineError(f"{what} took longer than {seconds:g} s")
        time.sleep(0.02)


def init_pid(host: LabHost) -> int | None:
    """The pid of the host's process 1 on the machine, None if the host is dead."""
    try:
        pid, started = host.init_pid_file.read_text().split()
        return int(pid) if start_time(int(pid)) == started else None
    except (OSError, ValueError):
        return None


def start_time(pid: int) -> str:
    """Field 22 of /proc/PID/stat. It tells a reused pid from the recorded process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def boot(host: LabHost) -> None:
    """Start the host's process 1 in new namespaces."""
    host.state_dir.mkdir(parents=True, exist_ok=True)
    host.folder.chmod(0o700)
    host.resolv_conf.write_text(f"nameserver {GATEWAY}\noptions timeout:1 attempts:1\n")
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--mount-proc"]
    command = ["nsenter", f"--net=/run/netns/{host.netns}", *unshare, "--propagation", "private", "--"]
    disk = [str(host.disk_image), str(host.state_dir)] if host.disk_image.exists() else []
    with host.log.open("ab") as log:
        outer = subprocess.Popen(
            [*command, sys.executable, "-m", "node.lab.host_init", host.name, str(host.resolv_conf), *disk],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")

    def ready() -> bool:
        if outer.poll() is not None:
            raise DeadlineError(f"host {host.name} did not start: see {host.log}")
        inner = children.read_text().split()
        return bool(inner) and Path(f"/proc/{inner[0]}/comm").read_text().strip() == "tini"

    wait_until(ready, f"starting host {host.name}", START_SECONDS)
    pid = int(children.read_text().split()[0])
    host.init_pid_file.write_text(f"{pid} {start_time(pid)}\n")


def command_inside(host: LabHost, command: Sequence[str]) -> list[str]:
    """The command line that runs a command inside the host.

    Raises:
        NotFoundError: the host is dead.
    """
    pid = init_pid(host)
    if pid is None:
        raise NotFoundError(f"host {host.name} is not running: start it with 'covey lab start {host.name}'")
    return ["nsenter", "--target", str(pid), "--mount", "--root", "--net", "--pid", "--uts", "--ipc", "--", *command]


def client_environment(host: LabHost) -> dict[str, str]:
    """Environment variables that point docker and covey to this host."""
    return {"DOCKER_HOST": f"unix://{host.socket}", "COVEY_HOST": f"unix://{host.socket}"}


def start_daemon(host: LabHost) -> None:
    """Start coveyd inside the host, as a child of its process 1."""
    coveyd = str(Path(sys.executable).with_name("coveyd"))
    arguments = ["--state-dir", str(host.state_dir), "--run-dir", "/run/covey", "--host", f"unix://{host.socket}"]
    options = ["--cgroup-parent", host.cgroup, "--advertise-addr", host.address]
    if host.registries_file.exists():
        options += ["--registries-file", str(host.registries_file)]
    if host.store:
        options += ["--store", host.store]
    with host.log.open("ab") as log:
        subprocess.run(
            command_inside(host, ["setsid", "--fork", coveyd, *arguments, *options]),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
            cwd="/",
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": "/root",
                "LANG": "C.UTF-8",
                **read_environment_file(host.environment_file),
            },
        )


def read_environment_file(file: Path) -> dict[str, str]:
    """Additional environment variables from a file of NAME=VALUE lines, which may be missing."""
    lines = file.read_text().splitlines() if file.exists() else []
    return dict(line.split("=", 1) for line in lines)


def daemon_pid(host: LabHost) -> int | None:
    """The pid of coveyd inside the host, None if it is not running."""
    init = init_pid(host)
    if init is None:
        return None
    try:
        inner = int(Path(f"/proc/{init}/root/{INNER_PID_FILE}").read_text())
        name = Path(f"/proc/{init}/root/proc/{inner}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return inner if b"coveyd" in name else None


def crash_daemon(host: LabHost) -> None:
    """Kill coveyd. Its containers keep running.

    Raises:
        NotFoundError: no coveyd runs there.
    """
    pid = daemon_pid(host)
    if pid is None:
        raise NotFoundError(f"no coveyd runs on host {host.name}")
    subprocess.run(command_inside(host, ["kill", "-KILL", str(pid)]), check=True, cwd="/")
    # The kernel empties the command line first and unlocks the files later, when the last thread has ended.
    process = Path(f"/proc/{init_pid(host)}/root/proc/{pid}")
    wait_until(lambda: not process.exists(), f"the end of coveyd on {host.name}", STOP_SECONDS)


def power_off(host: LabHost) -> None:
    """Kill all processes of the host at once: the kernel ends a PID namespace with its process 1."""
    pid = init_pid(host)
    if pid is None:
        return
    outer = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), f"the end of host {host.name}", STOP_SECONDS)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(outer, 0)
    host.init_pid_file.unlink(missing_ok=True)
    host.socket.unlink(missing_ok=True)


def remove_cgroups(path: str) -> None:
    """Remove a cgroup and its children in every hierarchy. Its processes are dead; the kernel may need a moment."""
    roots = _in_each_hierarchy(path)

    def gone() -> bool:
        for root in roots:
            for folder, _, _ in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
        return not any(root.is_dir() for root in roots)

    wait_until(gone, f"the removal of cgroup {path}", STOP_SECONDS)


def remove_empty_cgroup(path: str) -> None:
    """Remove a cgroup that may be shared, if it is empty."""
    for folder in _in_each_hierarchy(path):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _in_each_hierarchy(path: str) -> list[Path]:
    """The cgroup's directories in the unified hierarchy and in each one of version 1."""
    mounted = Path("/sys/fs/cgroup")
    return [root / path.lstrip("/") for root in (mounted, *mounted.glob("*")) if root.is_dir()]


def remove_disk(host: LabHost) -> None:
    """Delete the host's disk and files."""
    shutil.rmtree(host.folder, ignore_errors=True)
