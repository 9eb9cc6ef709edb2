"""Runs the ``post_start`` and ``pre_stop`` hooks of a service in its container."""

from collections.abc import Iterable

from cli.client import DaemonClient
from cli.compose.container_body import environment
from cli.compose.model import Values
from covey.errors import CoveyError


def run_hooks(daemon: DaemonClient, container: str, name: str, hooks: Iterable[Values]) -> None:
    """Run hooks one after the other.

    Raises:
        CoveyError: one failed.
    """
    for hook in hooks:
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
            while stream.recv(1 << 16):
                pass
        code = int(daemon.get(f"/exec/{identifier}/json").get("ExitCode") or 0)
        if code:
            raise CoveyError(f"{name}: a hook exited with status {code}: {' '.join(map(str, body['Cmd']))}")
