"""coveyd, the daemon process: holds the agent and the Engine API, and supervises the manager while this node is one.

Invariant: it may be killed at any line. Containers run on, and the next start adopts them.
"""

import asyncio
import contextlib
import fcntl
import functools
import grp
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from covey.engine_settings import LiveSettings
from covey.errors import AlreadyExistsError, CoveyError, PermissionDeniedError
from covey.task_group import TaskGroup
from node.lean_process import (
    end_start,
    import_aiohttp_without_certificates,
    limit_malloc_arenas,
    poll_grpc_in_one_thread,
    return_memory_after_bursts,
)
from node.options import CommandLine, DaemonOptions, merge, parse_command_line
from node.reload import Reloader, reload_attributes

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger("coveyd")

GROUP = "covey"
_LOCK_SECONDS = 2.0
"""A killed daemon holds the lock until its last thread has ended, which takes a moment on a busy host."""
_LOCK_RETRY_SECONDS = 0.05
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
    if not lock_within(lock, _LOCK_SECONDS):
        raise AlreadyExistsError(
            f"another coveyd uses {options.state_dir}: stop it, or give this one a --state-dir of its own"
        )
    (options.run_dir / "coveyd.pid").write_text(f"{os.getpid()}\n")
    return lock


def lock_within(file: IO[str], seconds: float) -> bool:
    """Lock a file exclusively. Returns False if another process holds the lock for all the time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOCK_RETRY_SECONDS)
        else:
            return True


def _grant_group_access(run_dir: Path) -> None:
    """Let the group ``covey``, if it exists, reach the socket in this directory. It cannot list the directory."""
    with contextlib.suppress(KeyError):
        os.chown(run_dir, 0, grp.getgrnam(GROUP).gr_gid)
        run_dir.chmod(0o710)


async def serve(options: DaemonOptions, line: CommandLine) -> None:
    """Run the daemon until SIGTERM or SIGINT; SIGHUP reloads its configuration."""
    import_aiohttp_without_certificates()
    from agent.agent import Agent, AgentConfig
    from agent.image.registry.config_file import read_config
    from engine.app import build_app
    from engine.control_client import ControlClient
    from engine.host_info import read_host
    from engine.host_programs import read_programs
    from engine.server import serving_at
    from node.membership import Membership
    from node.node_info import load_engine_id
    from node.node_record import NodeRecordFile
    from node.remote_access import insecure_warnings, tls_context
    from node.store_check import require_same_store

    tls = tls_context(options)
    live = LiveSettings(options.engine)
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
            settings=live,
            host_address=record.advertise_addr if record else "",
            data_path_addr=record.data_path_addr if record else "",
            data_path_port=record.data_path_port if record else 0,
            engine_id=load_engine_id(options.state_dir),
            registries=read_config(options.engine.registries_file),
        )
    )
    membership = Membership(options, agent)
    async with agent.running(), membership.running():
        host = read_host(extra_warnings=insecure_warnings(options), state_dir=str(options.state_dir))
        control = ControlClient(str(options.run_dir / "manager.sock"))
        app = build_app(agent, membership, control, host=host, settings=live, programs=await read_programs())

        def apply(wanted: DaemonOptions) -> None:
            agent.registries.configure(read_config(wanted.engine.registries_file))
            logging.getLogger().setLevel(wanted.logging_level)
            membership.notify_description_changed()

        reloader = Reloader(options, live, lambda: merge(line), apply)
        signal_reload = functools.partial(_reload, reloader, app, membership.info.engine_id)
        allows_tcp = options.tls_verify or options.insecure_tcp
        async with serving_at(app, options.listen_addresses, tls, dict(os.environ), allows_tcp=allows_tcp) as listeners:
            for listener in listeners:
                log.info("serving the Engine API at %s", listener.name)
            for text in insecure_warnings(options):
                log.warning("%s", text)
            loop.add_signal_handler(signal.SIGHUP, signal_reload)
            end_start()
            async with TaskGroup() as group:
                returning = group.create_task(return_memory_after_bursts())
                await stop.wait()
                returning.cancel()
            log.info("stopping; containers run on")


def _reload(reloader: Reloader, app: "web.Application", engine_id: str) -> None:
    """Reload the configuration and publish the daemon's ``reload`` event."""
    from engine.app import publish_daemon_event

    if reloader.reload():
        publish_daemon_event(app, "reload", engine_id, reload_attributes(reloader.options))


def main() -> None:
    """Entry point of the command ``coveyd``."""
    limit_malloc_arenas()
    poll_grpc_in_one_thread()
    try:
        line = parse_command_line(sys.argv[1:])
        options = merge(line)
        if line.is_validation:
            from node.remote_access import validate

            validate(options)
            sys.stdout.write("configuration OK\n")
            return
        logging.basicConfig(level=options.logging_level, format=LOG_FORMAT, stream=sys.stderr)
        logging.getLogger("asyncio").setLevel(logging.WARNING)
        lock = acquire_lock(options)
        try:
            asyncio.run(serve(options, line))
        finally:
            Path(options.run_dir / "coveyd.pid").unlink(missing_ok=True)
            lock.close()
    except CoveyError as error:
        sys.exit(f"coveyd: {error.message}")


if __name__ == "__main__":
    main()
