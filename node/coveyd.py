"""coveyd, the daemon process: holds the agent and the Engine API, and supervises the manager while this node is one.

Invariant: it may be killed at any line. Containers run on, and the next start adopts them.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import grp
import logging
import os
import signal
import sys
from pathlib import Path
from typing import IO

from covey.errors import AlreadyExistsError, CoveyError, PermissionDeniedError
from node.options import DaemonOptions, parse

log = logging.getLogger("coveyd")

_M_ARENA_MAX = -8
GROUP = "covey"
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def acquire_lock(options: DaemonOptions) -> IO[str]:
    """Create the daemon's directories and lock them against a second daemon. The lock is held while the returned file is open.

    Raises:
        AlreadyExistsError: another daemon holds the lock; PermissionDeniedError: this process is not root.
    """
    if os.geteuid() != 0:
        raise PermissionDeniedError("coveyd needs root, because it creates namespaces and mounts")
    for directory in (options.state_dir, options.run_dir):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
    _grant_group_access(options.run_dir)
    lock = (options.state_dir / "coveyd.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise AlreadyExistsError(
            f"another coveyd uses {options.state_dir}: stop it, or give this one a --state-dir of its own"
        ) from None
    (options.run_dir / "coveyd.pid").write_text(f"{os.getpid()}\n")
    return lock


def _grant_group_access(run_dir: Path) -> None:
    """Let the group ``covey``, if it exists, reach the socket in this directory. It cannot list the directory."""
    with contextlib.suppress(KeyError):
        os.chown(run_dir, 0, grp.getgrnam(GROUP).gr_gid)
        run_dir.chmod(0o710)


async def serve(options: DaemonOptions) -> None:
    """Run the daemon until SIGTERM or SIGINT."""
    from agent.agent import Agent, AgentConfig
    from agent.image.registry.config_file import read_config
    from engine.app import build_app
    from engine.control_client import ControlClient
    from engine.host_info import read_host
    from engine.server import serving
    from node.membership import Membership
    from node.node_record import NodeRecordFile
    from node.store_check import require_same_store

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    record = NodeRecordFile(options.state_dir).load()
    require_same_store(options, record)
    agent = Agent(
        AgentConfig(
            state_dir=options.state_dir,
            run_dir=options.run_dir,
            cgroup_parent=options.cgroup_parent,
            host_address=record.advertise_addr if record else "",
            labels=options.labels,
            registries=read_config(options.registries_file),
        )
    )
    membership = Membership(options, agent)
    async with agent.running(), membership.running():
        host = read_host(labels=options.labels, extra_warnings=agent.networks.warnings)
        app = build_app(agent, membership, ControlClient(str(options.run_dir / "manager.sock")), host=host)
        async with serving(app, options.socket):
            log.info("serving the Engine API at %s", options.socket)
            await stop.wait()
            log.info("stopping; containers run on")


def limit_malloc_arenas() -> None:
    """Use one malloc arena for all threads, which rarely allocate at the same time. glibc's default kept about 5 MB more."""
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def main() -> None:
    """Entry point of the command ``coveyd``."""
    limit_malloc_arenas()
    try:
        options = parse(sys.argv[1:])
        logging.basicConfig(level=options.log_level.upper(), format=LOG_FORMAT, stream=sys.stderr)
        logging.getLogger("asyncio").setLevel(logging.WARNING)
        lock = acquire_lock(options)
        try:
            asyncio.run(serve(options))
        finally:
            Path(options.run_dir / "coveyd.pid").unlink(missing_ok=True)
            lock.close()
    except CoveyError as error:
        sys.exit(f"coveyd: {error.message}")


if __name__ == "__main__":
    main()
