"""A real coveyd outside any lab, in a network namespace of its own, for tests of its options, sockets and signals."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

START_SECONDS = 30.0
CLI_SECONDS = 60


class CoveydProcess:
    """``folder`` holds its state, run directory, log and certificates."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], cgroup: str) -> None:
        self.folder, self.process, self.cgroup = folder, process, cgroup
        self.socket = folder / "run/covey.sock"

    @property
    def log(self) -> str:
        return (self.folder / "coveyd.log").read_text()

    def inside(self, *command: str, stdin: bytes = b"", check: int | None = 0, **environment: str) -> tuple[str, str]:
        """Run a command in the daemon's network namespace. Returns stdout and stderr."""
        done = subprocess.run(
            ["nsenter", "--net", "--target", str(self.process.pid), "--", *command],
            input=stdin, capture_output=True, timeout=CLI_SECONDS, check=False,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **environment},
        )  # fmt: skip
        out, err = done.stdout.decode(), done.stderr.decode()
        if check is not None:
            assert done.returncode == check, (command, done.returncode, out, err, self.log[-3000:])
        return out, err

    def docker(self, *args: str, stdin: bytes = b"", check: int | None = 0, **environment: str) -> tuple[str, str]:
        """Run the docker client, on the local socket unless the environment says otherwise."""
        target = {} if environment else {"DOCKER_HOST": f"unix://{self.socket}"}
        return self.inside("docker", *args, stdin=stdin, check=check, **target, **environment)

    def wait_for(self, condition: object, what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"{what} took too long: {self.log[-3000:]}"
            assert self.process.poll() is None, self.log[-3000:]
            time.sleep(0.02)

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)


@contextlib.contextmanager
def running(folder: Path, *arguments: str, launcher: Sequence[str] = ()) -> Iterator[CoveydProcess]:
    """Run coveyd with its directories in ``folder`` until the end of the block. ``launcher`` is a program that executes it."""
    cgroup = f"/covey-test-{secrets.token_hex(4)}"
    coveyd = Path(sys.executable).with_name("coveyd")
    own = ["--state-dir", f"{folder}/state", "--run-dir", f"{folder}/run", "--cgroup-parent", cgroup]
    script = f"ip link set lo up; exec {shlex.join([*launcher, str(coveyd), *own, *arguments])}"
    with (folder / "coveyd.log").open("ab") as log:
        process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
        )
    daemon = CoveydProcess(folder, process, cgroup)
    try:
        daemon.wait_for(lambda: "serving the Engine API" in daemon.log, "the start of coveyd")
        yield daemon
    finally:
        if process.poll() is None:
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                names = daemon.docker("ps", "-aq", check=None)[0].split()
                if names:
                    daemon.docker("rm", "-f", *names, check=None)
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()
        for root in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*")):
            for path, _, _ in os.walk(root / cgroup.lstrip("/"), topdown=False):
                with contextlib.suppress(OSError):
                    Path(path).rmdir()
