"""This host's place in a cluster: init, join and leave, and the role that the cluster gives it.

Implements ``engine.interfaces.NodeControl``.

Law: what the daemon must know to come back lies in ``node.json`` before anybody is told of success, and that file is the only truth:
while it is there the node goes on with its cluster, whatever failed; once it is gone the rest is cleared away, at the next start if
need be. Called by the Engine API; what lasts (session, manager, renewal) is one ``Life``, owned by the task group of ``running``.
"""

import asyncio
import contextlib
import logging
import shutil
import socket
from collections.abc import AsyncIterator, Coroutine, Sequence

import msgspec

from agent.agent import Agent
from agent.identity import IdentityStore, join_cluster
from covey.errors import ConflictError, CoveyError, DeadlineError, NodeRemovedError, UnavailableError
from covey.ids import new_id
from covey.states import NodeAvailability, NodeRole
from engine.interfaces import LocalNodeState, ManagerPeer, SwarmInit, SwarmJoin, SwarmRestore
from manager.config import ManagerMode
from manager.keys import LockedError
from node import addresses, force_new_cluster, quorum
from node.advertise_address import current_addresses, wait_for_local_address
from node.membership_session import BootstrapSettings, MembershipSession
from node.node_record import NodeRecord, NodeRecordFile
from node.options import DaemonOptions
from node.restore_upload import discard_leftover, receive_backup
from node.store_check import refuse_with_external_store
from node.unlock_key_cache import UnlockKeyCache

ALREADY_MEMBER = (
    'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.'
)
NOT_MEMBER = "This node is not part of a swarm"
LEAVE_MANAGER = (
    "You are attempting to leave the swarm on a node that is participating as a manager. "
    "The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. "
    "Demote the node first (docker node demote), or use `--force` to suppress this message."
)
LEAVE_LAST_MANAGER = (
    "You are attempting to leave the swarm on a node that is participating as a manager. "
    "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message."
)
LOCKED = (
    'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it.'
)
FORCE_NEEDS_MANAGER = (
    "only a manager can found the cluster anew, and this node is a worker: use --force-new-cluster on a manager that is left, "
    'or restore a backup ("covey swarm restore") on a host that is in no cluster'
)
BUSY = "this node is being taken into a cluster or out of one: try again when that is done"
LEAVE_LOCKED = "Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message."
REMOVED = 'This node was removed from the swarm by one of its managers. Use "docker swarm leave" here; then it may join again.'
JOIN_SECONDS = 40.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0

log = logging.getLogger(__name__)


class Membership:
    """One per daemon."""

    def __init__(self, options: DaemonOptions, agent: Agent) -> None:
        self._options = options
        self._agent = agent
        self._records = NodeRecordFile(options.state_dir)
        self._vault = UnlockKeyCache(options.state_dir)
        self._identities = IdentityStore(options.state_dir, self._vault.unseal)
        self._locked: NodeRecord | None = None
        self._life: MembershipSession | None = None
        self._task: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None
        self._busy = asyncio.Lock()
        self._error = ""
        self._engine_id = _engine_id(options)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Go on with the cluster of before, if there was one; end everything at the end of the block."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            discard_leftover(self._options.state_dir)
            record = self._records.load()
            if record is not None and self._vault.is_locked(record.role):
                self._lock(record)
            elif record is not None:
                self._begin(record, None, lasting=True)
            elif self._something_left():
                group.create_task(self._clear())
            try:
                yield
            finally:
                await self._end()

    @property
    def state(self) -> LocalNodeState:
        if self._locked is not None:
            return LocalNodeState.LOCKED
        if self._life is not None:
            return LocalNodeState.ACTIVE if self._life.joined.is_set() else LocalNodeState.PENDING
        if self._busy.locked():
            return LocalNodeState.PENDING
        return LocalNodeState.ERROR if self._error else LocalNodeState.INACTIVE

    @property
    def error(self) -> str:
        return self._error or (self._life.error if self._life else "")

    @property
    def node_id(self) -> str:
        record = self._life.record if self._life else self._locked
        return record.node_id if record else ""

    @property
    def engine_id(self) -> str:
        return self._engine_id

    @property
    def hostname(self) -> str:
        return socket.gethostname()

    @property
    def state_dir(self) -> str:
        return str(self._options.state_dir)

    @property
    def advertise_addr(self) -> str:
        return self._life.record.advertise_addr if self._life else ""

    @property
    def join_port(self) -> int:
        return self._options.join_port

    @property
    def is_manager(self) -> bool:
        return self._life is not None and self._life.record.role is NodeRole.MANAGER

    @property
    def managers(self) -> Sequence[ManagerPeer]:
        """With the join port: ``docker swarm join-token`` prints these addresses for ``swarm join``."""
        peers, port = self._life.peers if self._life else (), self._options.join_port
        hosts = [addresses.split_port(peer.addr, port)[0] for peer in peers]
        return [
            ManagerPeer(node_id=peer.node_id, addr=addresses.join_host_port(host, port))
            for peer, host in zip(peers, hosts, strict=True)
        ]

    async def swarm_init(self, request: SwarmInit) -> str:
        """Make a cluster of this node alone.

        Raises:
            UnavailableError: it is in one already, or the manager did not come up.
            InvalidArgumentError: no address to advertise can be told, or a cluster that is founded anew does not take a setting.
        """
        if request.force_new_cluster:
            refuse_with_external_store(self._options, "--force-new-cluster")
        if request.force_new_cluster and self._records.load() is not None:
            force_new_cluster.refuse_unsupported_flags(request)
            await self._run_uncancelled(self._force_new_cluster(request))
            return self.node_id
        self._refuse_second()
        async with self._busy:
            advertise, listen = await self._address(request.advertise_addr, request.listen_addr)
            record = NodeRecord(
                node_id=new_id(),
                cluster_id="",
                role=NodeRole.MANAGER,
                advertise_addr=advertise,
                listen_addr=listen,
                store=self._options.store,
            )
            bootstrap = BootstrapSettings(
                spec=request.spec,
                availability=_availability(request.availability),
                default_address_pool=request.default_address_pool,
                subnet_size=request.subnet_size,
                data_path_port=request.data_path_port,
            )
            life = self._begin(record, ManagerMode.BOOTSTRAP, bootstrap)
            await self._settled(life)
            return life.record.node_id

    async def _force_new_cluster(self, request: SwarmInit) -> None:
        """The same cluster with this manager alone. Whatever fails before the manager has done it leaves the membership as it was; tasks
        run on in any case.
        """
        if self._busy.locked():
            raise UnavailableError(BUSY)
        async with self._busy:
            record = self._records.load()
            if self._error or self.state is LocalNodeState.LOCKED:
                raise UnavailableError(self._error or LOCKED)
            if record is None or record.role is not NodeRole.MANAGER:
                raise UnavailableError(FORCE_NEEDS_MANAGER)
            await quorum.refuse_unless_quorum_lost(self._options.run_dir / "manager.sock")
            await quorum.refuse_if_peers_have_leader(self._identities.require(), record.managers)
            here = await current_addresses(self._options, record, request.advertise_addr, request.listen_addr)
            await self._end()
            life = self._begin(msgspec.structs.replace(here, managers=()), ManagerMode.FORCE)
            reason = await self._came_up(life)
            if not life.joined.is_set():
                await self._end()
                self._begin(self._records.load() or record, None, lasting=True)
                raise UnavailableError(
                    reason or f"the cluster did not come up within {JOIN_SECONDS:g} s; see the daemon's log"
                )

    async def swarm_join(self, request: SwarmJoin) -> None:
        """Join a cluster by token, as manager or worker as the token says.

        Raises:
            UnavailableError: this node is in one already, or no manager answers; UnauthenticatedError: the token is not accepted.
        """
        self._refuse_second()
        async with self._busy:
            advertise, listen = await self._address(request.advertise_addr, request.listen_addr)
            identity = await join_cluster(
                self._identities,
                request.join_token,
                request.remote_addrs,
                availability=_availability(request.availability),
            )
            hosts = [addresses.split_port(text, self._options.join_port)[0] for text in request.remote_addrs]
            record = NodeRecord(
                node_id=identity.node_id,
                cluster_id=identity.cluster_id,
                role=identity.role,
                advertise_addr=advertise,
                listen_addr=listen,
                managers=tuple(addresses.join_host_port(host, self._options.mtls_port) for host in hosts),
            )
            self._records.save(record)
            await self._settled(self._begin(record, ManagerMode.JOIN if identity.role is NodeRole.MANAGER else None))

    async def swarm_restore(self, request: SwarmRestore, backup: AsyncIterator[bytes]) -> str:
        """Make this host the one manager of the cluster in a backup.

        Raises:
            UnavailableError: it is in a cluster, the backup or its key is not good, or the manager did not come up. Nothing has changed.
        """
        refuse_with_external_store(self._options, "a restore")
        await self._run_uncancelled(self._restore(request, backup))
        return self.node_id

    async def _restore(self, request: SwarmRestore, backup: AsyncIterator[bytes]) -> None:
        """If the client goes away while its file comes, nothing has changed; afterwards it is done to the end."""
        self._refuse_second()
        async with self._busy:
            advertise, listen = await self._address(request.advertise_addr, request.listen_addr)
            record = NodeRecord(
                node_id=new_id(), cluster_id="", role=NodeRole.MANAGER, advertise_addr=advertise, listen_addr=listen
            )
            async with receive_backup(backup, self._options.state_dir) as path:
                self._vault.backup_key = request.key
                try:
                    await self._settled(
                        self._begin(record, ManagerMode.RESTORE, BootstrapSettings(restore_path=str(path)))
                    )
                finally:
                    self._vault.backup_key = ""

    async def swarm_reconnect(self, addrs: Sequence[str]) -> None:
        """Look for this node's cluster at these addresses too: HOST or HOST:PORT of the join port.

        Raises:
            UnavailableError: this node is in no cluster. InvalidArgumentError: there can be no manager at one of them; none is kept.
        """
        hosts = [await addresses.resolve_manager_host(text, self._options.join_port) for text in addrs]
        if self._life is None:
            raise UnavailableError(self._error or (LOCKED if self._locked else NOT_MEMBER))
        self._life.reconnect([addresses.join_host_port(host, self._options.mtls_port) for host in hosts])

    async def swarm_leave(self, *, force: bool) -> None:
        """Leave the cluster and forget it: tasks, secrets, networks, identity and the manager's log.

        Raises:
            UnavailableError: it is in none, or it is a manager and ``force`` is not given.
        """
        await self._run_uncancelled(self._leave(force=force))

    async def _leave(self, *, force: bool) -> None:
        async with self._busy:
            if self._life is None and not self._error and self._locked is None:
                raise UnavailableError(NOT_MEMBER)
            if self._locked is not None and not force:
                raise UnavailableError(LEAVE_LOCKED)
            if self._life is not None and self._life.record.role is NodeRole.MANAGER and not force:
                raise UnavailableError(LEAVE_LAST_MANAGER if len(self._life.peers) == 1 else LEAVE_MANAGER)
            await self._end()
            await self._remove_state()

    async def swarm_unlock(self, unlock_key: str) -> None:
        """Go on with the cluster, by the key that opens this manager's files.

        Raises:
            InvalidArgumentError: the key is another, or none; nothing is changed. ConflictError: nothing is locked.
        """
        async with self._busy:
            record = self._locked
            if record is None:
                raise ConflictError("swarm is not locked")
            await asyncio.to_thread(self._vault.unlock, unlock_key)
            self._locked = None
            log.info("this manager is unlocked")
            self._begin(record, None, lasting=True)

    def _lock(self, record: NodeRecord) -> None:
        """Nothing of the cluster can be read until somebody brings the key; containers go on."""
        log.warning("this manager is locked: it waits for its unlock key")
        self._locked = record

    async def _run_uncancelled(self, work: Coroutine[None, None, None]) -> None:
        """What is done halfway is worse than either end: the work goes on if whoever asked for it goes away."""
        if self._group is None:
            work.close()
            raise UnavailableError("the daemon is starting or stopping; try again")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            try:
                await work
            except Exception as error:  # belongs to who asked
                if done.cancelled():
                    log.exception("what was begun for a client that left has failed")
                else:
                    done.set_exception(error)
            else:
                if not done.cancelled():
                    done.set_result(None)

        self._group.create_task(run())
        await done

    def _refuse_second(self) -> None:
        if self._life is not None or self._error or self._locked is not None or self._busy.locked():
            raise UnavailableError(ALREADY_MEMBER)

    async def _address(self, advertise: str, listen: str) -> tuple[str, str]:
        """The addresses to advertise and to listen at, without ports: those are the daemon's."""
        known, port = await asyncio.to_thread(addresses.local_addresses), self._options.join_port
        host = addresses.host_without_port(listen, port)
        word = addresses.host_without_port(advertise, port)
        return addresses.choose_addresses(word, host, self._options.advertise_addr, known)

    def _begin(
        self,
        record: NodeRecord,
        mode: ManagerMode | None,
        bootstrap: BootstrapSettings | None = None,
        *,
        lasting: bool = False,
    ) -> MembershipSession:
        if self._group is None:
            raise UnavailableError("the daemon is starting or stopping; try again")
        self._error = ""
        self._life = life = MembershipSession(
            self._options,
            self._agent,
            self._records,
            self._identities,
            record,
            unlock_keys=self._vault,
            mode=mode,
            bootstrap=bootstrap,
            established=lasting,
        )
        self._task = self._group.create_task(self._live(life))
        return life

    async def _live(self, life: MembershipSession) -> None:
        """One membership, to its end. Who is of the cluster tries again whatever goes wrong; only the cluster itself ends that."""
        pause = FIRST_PAUSE_SECONDS
        try:
            while True:
                if life.established:
                    await wait_for_local_address(self._options, life)
                reason = await self._lived(life)
                if self._locked is not None:
                    return
                if self._error or not life.established:
                    self._error = self._error or reason
                    return
                pause = FIRST_PAUSE_SECONDS if life.joined.is_set() else min(pause * 2, LONGEST_PAUSE_SECONDS)
                log.error("the membership is taken up again in %g s: %s", pause, reason)
                life = self._life = MembershipSession(
                    self._options, self._agent, self._records, self._identities, life.record,
                    unlock_keys=self._vault, mode=None, bootstrap=None, established=True, last_error=reason,
                )  # fmt: skip
                await asyncio.sleep(pause)
        finally:
            if self._life is life:
                self._life = None

    async def _lived(self, life: MembershipSession) -> str:
        """One life; an error becomes this node's state instead of the daemon's end."""
        try:
            await life.run()
        except NodeRemovedError as error:
            log.error("the cluster has removed this node, its tasks end: %s", error.message)  # noqa: TRY400 - a sentence
            self._error = REMOVED
            await self._agent_leaves()
        except LockedError as error:
            self._lock(life.record)
            return error.message
        except CoveyError as error:
            return error.message
        except Exception as error:  # the daemon serves on and shows what went wrong
            log.exception("the membership ended")
            return f"{type(error).__name__}: {error}"
        return REMOVED

    async def _agent_leaves(self) -> None:
        try:
            await self._agent.leave_cluster()
        except CoveyError as error:
            log.warning("tasks of the cluster are still ending: %s", error.message)

    async def _came_up(self, life: MembershipSession) -> str:
        """Wait until the cluster knows this node; why it does not, if it came to an end."""
        waiting = asyncio.ensure_future(life.joined.wait())
        assert self._task is not None  # noqa: S101 - _begin made it
        try:
            await asyncio.wait({waiting, self._task}, timeout=JOIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        return self._error or life.error

    async def _settled(self, life: MembershipSession) -> None:
        """Wait until the cluster knows this node, or clean up and say why not."""
        reason = await self._came_up(life)
        if life.joined.is_set():
            return
        await self._end()
        await self._remove_state()
        if reason:
            raise UnavailableError(reason)
        raise DeadlineError(f"the cluster did not take this node up within {JOIN_SECONDS:g} s; see the daemon's log")

    async def _end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        self._life = None

    async def _remove_state(self) -> None:
        """Of the cluster nothing stays; without the record a daemon that dies here goes on with it when it starts again."""
        self._records.remove()
        self._error, self._locked = "", None
        await self._agent_leaves()
        self._identities.remove()
        await asyncio.to_thread(shutil.rmtree, self._options.state_dir / "manager", ignore_errors=True)
        self._vault.clear()

    def _something_left(self) -> bool:
        """Of an init, join or leave that was cut short."""
        folders = (self._identities.folder, self._options.state_dir / "manager")
        return any(folder.exists() for folder in folders) or bool(self._agent.worker.records())

    async def _clear(self) -> None:
        async with self._busy:
            log.info("clearing away what an interrupted init, join or leave left")
            await self._remove_state()


def _availability(text: str) -> NodeAvailability:
    return NodeAvailability[text.upper()] if text else NodeAvailability.ACTIVE


def _engine_id(options: DaemonOptions) -> str:
    """Made once for each state folder."""
    path = options.state_dir / "engine-id"
    if not path.exists():
        path.write_text(new_id())
    return path.read_text().strip()
