"""Deploys a watched stack for the managers: a process of its own, ``python -m cli.watched_deployment``.

It reads one line of JSON from standard input and answers with one on standard output. It ends when its standard input does, because then
the manager that started it has died.

Invariant: hostile files can use no more time than the limit below, no more memory and disk than the manager allows
(``manager.stack_watch``), and are interpolated with the given variables alone.
"""

import contextlib
import os
import resource
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

import msgspec

from cli.client import DaemonClient
from cli.registry.service_images import ServiceImages
from cli.stack.deploy import deploy
from cli.stack.prepare import compared_by, stack_plan
from cli.stack.repository import load_from_repository
from covey.errors import CoveyError
from covey.git_source import repository_source

CPU_SECONDS = 120
NICENESS = 10


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to deploy; ``host`` is the address of the Engine API."""

    host: str
    stack: str
    url: str
    ref: str = ""
    path: str = ""
    files: tuple[str, ...] = ()
    prune: bool = False
    environment: dict[str, str] = {}


def main() -> int:
    _limit_processor()
    signal.signal(signal.SIGTERM, _end)
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            answer = {"commit": run(order)}
    except CoveyError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "the files of the stack need too much memory"}
    finally:
        _end_children()
    sys.stdout.write(f"{msgspec.json.encode(answer).decode()}\n")
    sys.stdout.flush()
    return 0


def run(order: Order) -> str:
    """Deploy the stack of an order and return the commit.

    Raises:
        CoveyError: it cannot be fetched, read or deployed.
    """
    source = repository_source(order.url, order.ref, order.path)
    loaded = load_from_repository(order.stack, source, order.files, order.environment)
    daemon = DaemonClient(order.host, environment={})
    images = ServiceImages(daemon, send_credentials=False)
    decided = stack_plan(daemon, loaded.stack, images, compared_by(daemon), prune=order.prune)
    deploy(daemon, decided, images)
    return loaded.commit


def _limit_processor() -> None:
    """Bounds of this process and of git, which inherits them."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    os.nice(NICENESS)  # the leader's heartbeats go first


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(1)  # ends git and removes the temporary directory on the way


def _end_children() -> None:
    """Kill a git that was started in the moment in which the signal came."""
    try:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        for kill in (os.killpg, os.kill):  # it leads a session of its own, or not yet
            with contextlib.suppress(ProcessLookupError):
                kill(child, signal.SIGKILL)


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
