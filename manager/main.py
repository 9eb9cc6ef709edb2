"""Entry point of the manager process: ``python -m manager.main --config FILE``.

Invariant: the process prints ``ready`` once it serves. It ends after SIGTERM or the end of its standard input, and hands over leadership
first. Exit code 3: the group has removed this manager. Exit code 4: its keys are locked, and no unlock key that it received opens them.
After a fatal error the last line on standard error says what happened.
"""

import argparse
import asyncio
import contextlib
import functools
import logging
import signal
import sys
from pathlib import Path

import msgspec

from covey.errors import CoveyError, DeadlineError, first_cause
from covey.states import NodeRole
from covey.task_group import TaskGroup
from manager import config as configs
from manager import process
from manager.autoscale.autoscaler import Autoscaler
from manager.autoscale.prometheus import query_value
from manager.bootstrap.raft_state import prepare_raft_state
from manager.bootstrap.restore import RestoredBackup, read_backup
from manager.bootstrap.startup_keys import open_keys, take_root_key
from manager.ca.cfssl import CfsslSigner
from manager.ca.servicer import CertificateAuthorityServicer
from manager.ca.signing import CertificateSigner
from manager.config import ManagerConfig, ManagerMode
from manager.consensus_backend import ConsensusBackend
from manager.control.servicer import ControlServicer
from manager.dispatcher.dispatcher import Dispatcher
from manager.history.log import HistoryLog
from manager.history.recorder import record_history
from manager.identity import ManagerIdentity
from manager.images.service import ImageService
from manager.interface import EXIT_FAILED, EXIT_LOCKED, EXIT_REMOVED, READY_LINE
from manager.keys import LockedError
from manager.keys.rotation import DesiredKeys, KeyRotator
from manager.keys.startup_secrets import receive
from manager.leader import run_while_leading
from manager.listeners import Listeners, ManagerChannels, Servicers
from manager.logbroker.broker import LogBroker
from manager.logbroker.kept_tails import KeptTails
from manager.logbroker.tail_mirror import TailMirror
from manager.network_checks import NetworkChecks
from manager.raft.backend import RaftBackend
from manager.role_manager import RoleManager
from manager.stack_watch.deployment import StackDeployer
from manager.stack_watch.remote import newest_commit
from manager.stack_watch.watcher import StackWatcher
from manager.storage_errors import StorageError
from manager.store import Store
from manager.store.consensus import RemovedError
from manager.task_calls import TaskCalls

_READY_SECONDS = 30.0
_GRACE_SECONDS = 1.0

log = logging.getLogger("covey.manager")


class Stopped(Exception):  # noqa: N818 - asked for, not an error
    """The process was asked to stop."""


class Manager:
    """All parts of a manager process."""

    def __init__(
        self, config: ManagerConfig, identity: ManagerIdentity, backend: ConsensusBackend, rotator: KeyRotator
    ) -> None:
        self._config = config
        self._rotator = rotator
        self._identity = identity
        self._backend = backend
        self._store = Store(backend.connect)
        tails = KeptTails()
        broker, images, checks = LogBroker(self._store, tails), ImageService(self._store), NetworkChecks(self._store)
        self._channels = ManagerChannels(identity)
        self._tails = TailMirror(self._store, tails, identity.peer.node_id, self._channels)
        self._autoscaler = Autoscaler(self._store, query_value)
        calls = TaskCalls(self._store, f"{config.advertise_addr}:{config.mtls_port}")
        self._dispatcher = Dispatcher(
            self._store,
            broker,
            images=images,
            network_checks=checks,
            task_usages=self._autoscaler.take_usages,
            task_calls=calls,
            recovered=config.mode in {ManagerMode.FORCE, ManagerMode.RESTORE},
        )
        broker.bind(self._dispatcher.send, self._dispatcher.is_connected)
        images.bind(self._dispatcher.send)
        checks.bind(self._dispatcher.send)
        self._autoscaler.bind(self._dispatcher.send)
        self._image_nodes = images.directory.nodes_with
        self._history = HistoryLog()
        self._roles = RoleManager(self._store, backend)
        self._watcher = watcher = StackWatcher(self._store, newest_commit, StackDeployer(config.engine_host))
        signer = CertificateSigner(CfsslSigner(lambda: identity.files), identity.peer.node_id)
        services = Servicers(
            ca=CertificateAuthorityServicer(self._store, identity.files.root, identity.peer.node_id, signer),
            control=ControlServicer(
                self._store,
                broker,
                images=images,
                network_checks=checks,
                history=self._history,
                task_calls=calls,
                signer=signer,
                stop_deployment=watcher.stop,
            ),
            dispatcher=self._dispatcher,
            raft=backend.raft_service(self._is_manager),
            store_key=backend.key_service(self._is_manager),
            tails=self._tails,
        )
        self._listeners = Listeners(config, identity, self._store, self._store.consensus, services)
        calls.bind(self._dispatcher.send, self._listeners.dial)
        self._is_current = config.mode is not ManagerMode.JOIN

    def _is_manager(self, node_id: str) -> bool:
        node = self._store.view().nodes.get(node_id)
        return node is not None and node.role is NodeRole.MANAGER

    def _desired_keys(self) -> DesiredKeys | None:
        """The desired keys, or None while this manager may see outdated states: one that joins waits until its state is current."""
        if not self._is_current:
            return None
        for cluster in self._store.view().clusters:
            return DesiredKeys(
                unlock_key=cluster.unlock_key, version=cluster.meta.version, replayed=self._backend.replays_log
            )
        return None

    async def run(self) -> None:
        """Runs until the process is asked to stop.

        Raises:
            RemovedError: the group removed this manager; StorageError: its disk cannot be used. Both in an exception group.
        """
        await self._listeners.start()
        try:
            async with TaskGroup() as group:
                group.create_task(record_history(self._store, self._history), name="history")
                backend = group.create_task(self._backend.run(), name="backend")
                leading = group.create_task(
                    run_while_leading(
                        self._store,
                        also=(
                            self._dispatcher.run,
                            self._roles.run,
                            self._watcher.run,
                            self._autoscaler.run,
                            self._tails.run,
                        ),
                        image_nodes=self._image_nodes,
                    ),
                    name="leader",
                )
                group.create_task(self._announce(), name="ready")
                group.create_task(self._rotator.run(self._desired_keys, self._backend.reencrypt), name="keys")
                for task in self._backend.background_tasks(self._store):
                    group.create_task(task())
                await _wait_stop_requested()
                # Stop first: a handover takes long if no other manager answers, and the loops must not judge nodes meanwhile.
                leading.cancel()
                await asyncio.wait({leading})
                await self._backend.close()
                await self._listeners.close(_GRACE_SECONDS)
                await asyncio.wait({backend}, timeout=_GRACE_SECONDS)
                raise Stopped
        finally:
            await self._listeners.close(0)
            await self._channels.close()

    async def _announce(self) -> None:
        """Prints ``ready``: a founder once it leads, a new member once it has the cluster's state, a restarted manager at once."""
        if self._config.mode is not ManagerMode.RESTART:
            try:
                async with asyncio.timeout(_READY_SECONDS):
                    with self._store.consensus.subscribe() as changes:
                        async for leadership in changes:
                            if leadership.is_leader or (
                                leadership.leader_addr and self._config.mode is ManagerMode.JOIN
                            ):
                                break
                    while not len(self._store.view().clusters):  # noqa: ASYNC110 - a restored snapshot is no commit
                        await asyncio.sleep(0.02)
                    await self._become_current()
            except TimeoutError:
                raise DeadlineError(f"found no leader and received no state within {_READY_SECONDS:g} s") from None
            await self._rotator.wait_rotated()
        sys.stdout.write(f"{READY_LINE.decode()}\n")
        sys.stdout.flush()

    async def _become_current(self) -> None:
        while not self._is_current:
            with contextlib.suppress(DeadlineError):
                await self._store.consensus.read_index()
                self._is_current = True


async def _wait_stop_requested() -> None:
    """Waits for SIGTERM, SIGINT, or the end of standard input if that is a pipe: then the daemon has ended."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    reader = asyncio.StreamReader()
    try:
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    except (ValueError, OSError):  # a file or /dev/null has no other end
        await stop.wait()
        return
    try:
        async with TaskGroup() as group:
            ending = group.create_task(_stop_at_eof(reader, stop))
            await stop.wait()
            ending.cancel()
    finally:
        transport.close()


async def _stop_at_eof(reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    while await reader.read(4096):
        pass
    stop.set()


async def _open_backend(
    config: ManagerConfig, rotator: KeyRotator, restored: RestoredBackup | None
) -> tuple[ManagerIdentity, ConsensusBackend]:
    """Opens the consensus backend. The code for etcd is imported only with --store."""
    if config.store:
        from manager.etcd.backend import open_backend

        return await open_backend(config, rotator)
    identity = await prepare_raft_state(config, rotator, restored)
    return identity, RaftBackend(config, identity, rotator.ring)


async def serve(config: ManagerConfig) -> int:
    """Runs the manager and returns the exit code."""
    read_secrets = functools.cache(receive)  # the line comes once; only code that needs it waits for it
    config = take_root_key(config, read_secrets)
    restored = read_backup(config, read_secrets)
    rotator = open_keys(config, restored, read_secrets)
    code = 0
    try:
        identity, backend = await _open_backend(config, rotator, restored)
        await Manager(config, identity, backend, rotator).run()
    except* Stopped:
        log.info("the manager stops as requested")
    except* RemovedError as errors:
        log.warning("%s", errors.exceptions[0])
        code = EXIT_REMOVED
    return code


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="manager.main", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the manager's configuration, JSON")
    path: Path = parser.parse_args(arguments).config
    try:
        config = configs.load(path)
        logging.basicConfig(
            level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
        )
        return process.run(serve(config))
    except LockedError as error:
        sys.stderr.write(f"{error.message}\n")
        return EXIT_LOCKED
    except (CoveyError, StorageError, OSError, msgspec.ValidationError, msgspec.DecodeError) as error:
        sys.stderr.write(f"{getattr(error, 'message', error)}\n")
    except BaseExceptionGroup as errors:
        log.exception("the manager failed")
        first = first_cause(errors)
        sys.stderr.write(f"{getattr(first, 'message', first)}\n")
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
