"""Runs a container with this terminal attached: attach, wait, start, copy streams, forward signals, and return the exit code.

``run``, ``start --attach`` and ``attach`` are this with different parts. The wait is registered before the container starts, so that no
exit is missed.
"""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, NamedTuple

import click

from cli.client import DaemonClient, DaemonError, path_segment
from cli.http_connection import Response
from cli.terminal.hijacked import TerminalSession
from covey.errors import CoveyError

DAEMON_ERROR = 125
DETACHED = "read escape sequence"
# Signals that concern this process alone, or that cannot be caught.
NOT_FORWARDED = {
    *("SIGCHLD", "SIGPIPE", "SIGURG", "SIGKILL", "SIGSTOP", "SIGWINCH", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGCONT"),
    *("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS", "SIGABRT"),
}


class Attachment(NamedTuple):
    """What to attach to. ``condition`` is the state to wait for."""

    tty: bool
    stdin: bool
    stdout: bool = True
    stderr: bool = True
    detach_keys: str = ""
    forward_signals: bool = True
    condition: str = "next-exit"

    @property
    def query(self) -> dict[str, Any]:
        return {
            "stream": True,
            "stdin": self.stdin,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "detachKeys": self.detach_keys,
        }


class Ended(NamedTuple):
    """How a session ended. ``detached`` means that the container still runs."""

    code: int = 0
    detached: bool = False


def run_session(
    daemon: DaemonClient, ref: str, attachment: Attachment, start: Callable[[], Any] | None = None
) -> Ended:
    """Attach to a container, start it if ``start`` is given, and wait until it exits or the user detaches.

    Raises:
        CoveyError: the daemon refused; a container that could not be started stays as it was.
    """
    path = f"/containers/{path_segment(ref)}"
    with ExitStack() as stack:
        stream, kind = daemon.hijack("POST", f"{path}/attach", attachment.query)
        session = stack.enter_context(
            TerminalSession(
                stream, kind, tty=attachment.tty, stdin=attachment.stdin, detach_keys=attachment.detach_keys
            )
        )
        wait = stack.enter_context(daemon.open("POST", f"{path}/wait", {"condition": attachment.condition}))
        if attachment.forward_signals and not attachment.tty:
            stack.enter_context(forwarded_signals(daemon, path))
        if start:
            start()
        detached = session.run(lambda height, width: daemon.post(f"{path}/resize", {"h": height, "w": width}))
        return Ended(detached=True) if detached else Ended(exit_code(daemon, wait))


def exit_code(daemon: DaemonClient, wait: Response) -> int:
    """The exit code in an answer of ``wait``, when it arrives."""
    answer = json.loads(b"".join(daemon.body(wait)) or b"{}")
    error = (answer.get("Error") or {}).get("Message")
    if error:
        click.echo(f"covey: {error}", err=True)
        return DAEMON_ERROR
    return int(answer.get("StatusCode", 0))


@contextmanager
def forwarded_signals(daemon: DaemonClient, path: str) -> Iterator[None]:
    """Forward the signals that this process receives to the container."""

    def forward(number: int, frame: FrameType | None) -> None:
        del frame
        try:
            daemon.post(f"{path}/kill", {"signal": str(number)})
        except CoveyError as error:
            if not isinstance(error, DaemonError):  # it has exited: a refusal is nothing to report
                click.echo(f"covey: {error.message}", err=True)

    previous: dict[int, Any] = {}
    for found in signal.valid_signals():
        if isinstance(found, signal.Signals) and found.name not in NOT_FORWARDED:
            previous[found] = signal.signal(found, forward)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def require_terminal(*, stdin: bool, tty: bool) -> None:
    """Refuse a terminal session whose standard input is no terminal.

    Raises:
        CoveyError: stdin would be attached with ``--tty`` and is no terminal.
    """
    if stdin and tty and not (sys.stdin and sys.stdin.isatty()):
        raise CoveyError("the input device is not a TTY")
