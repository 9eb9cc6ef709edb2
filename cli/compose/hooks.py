"""Runs commands in containers to their end: ``post_start`` and ``pre_stop`` hooks, and those of ``watch``."""

from collections.abc import Callable, Iterable

from cli.client import DaemonClient
from cli.compose.container_body import environment
from cli.compose.model import Values
from cli.terminal.multiplexed import read_frames
from covey.errors import CoveyError

_READ_BYTES = 1 << 16
Sink = Callable[[int, bytes], None]
"""Takes output: the number of its stream and the bytes."""


def run_hooks(
    daemon: DaemonClient, container: str, name: str, hooks: Iterable[Values], sink: Sink | None = None
) -> None:
    """Run hooks one after the other.

    Raises:
        CoveyError: one failed.
    """
    for hook in hooks:
        code = run_to_end(daemon, container, hook, sink)
        if code:
            command = " ".join(map(str, hook.get("command") or ()))
            raise CoveyError(f"{name}: a hook exited with status {code}: {command}")


def run_to_end(daemon: DaemonClient, container: str, hook: Values, sink: Sink | None = None) -> int:
    """Run a command in a container; returns its exit code. Without ``sink`` its output is dropped."""
    body = {
        "Cmd": hook.get("command") or [],
        "User": hook.get("user", ""),
        "Privileged": bool(hook.get("privileged")),
        "WorkingDir": hook.get("working_dir", ""),
        "Env": environment(hook.get("environment") or {}),
        "AttachStdout": True,
        "AttachStderr": True,
    }
    identifier = daemon.post(f"/containers/{container}/exec", body=body)["Id"]
    stream, _ = daemon.hijack("POST", f"/exec/{identifier}/start", body={"Detach": False, "Tty": False})
    with stream:
        for number, data in read_frames(iter(lambda: stream.recv(_READ_BYTES), b"")):
            if sink is not None:
                sink(number, data)
    return int(daemon.get(f"/exec/{identifier}/json").get("ExitCode") or 0)
