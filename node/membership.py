"""Cluster membership of this host: init, join, leave, unlock, restore and force-new-cluster. Implements ``engine.interfaces.NodeControl``.

Invariant: the node record is on disk before anyone is told of success. A join that fails removes everything it has written. Called by
the Engine API. ``node.membership_supervisor`` runs the session, ``node.membership_state`` holds the files.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

import msgspec

from agent.agent import Agent
from agent.identity import join_cluster
from covey.errors import ConflictError, DeadlineError, UnavailableError
from covey.ids import new_id
from covey.states import NodeAvailability, NodeRole
from engine.interfaces import SwarmInit, SwarmJoin, SwarmRestore
from manager.interface import ManagerMode
from node import addresses, force_new_cluster_flags, node_ports, quorum
from node.advertise_address import current_addresses
from node.free_ports import require_free_ports
from node.group_departure import leave_group
from node.manager_config import BootstrapSettings
from node.membership_session import MembershipSession, SessionStart
from node.membership_state import MembershipState
from node.membership_supervisor import JOIN_SECONDS, MembershipSupervisor, SessionType
from node.node_info import DaemonNodeInfo
from node.node_record import NodeRecord
from node.options import DaemonOptions
from node.restore_upload import discard_leftover, receive_backup
from node.store_check import refuse_with_external_store

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
LEAVE_LOCKED = "Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message."
FORCE_NEEDS_MANAGER = (
    "this node is a worker, and only a manager can start a new cluster from its state: use --force-new-cluster on a remaining manager, "
    'or restore a backup ("covey swarm restore") on a host that is in no cluster'
)
RESTORE_ON_MEMBER = (
    "this node is part of a swarm, and a backup can only be restored on a host that is in none: use another host, or leave the swarm "
    "here first (covey swarm leave --force)"
)
BUSY = "this node is already joining or leaving a cluster: try again when that is done"

log = logging.getLogger(__name__)


class Membership:
    """One per daemon. Changes of membership run one at a time."""

    def __init__(self, options: DaemonOptions, agent: Agent, session_type: SessionType = MembershipSession) -> None:
        self._options = options
        self._agent = agent
        self._state = MembershipState(options.state_dir)
        self._supervisor = MembershipSupervisor(options, agent, self._state, session_type)
        self._busy = asyncio.Lock()
        self._info = DaemonNodeInfo(options, self._supervisor, self._busy)

    @property
    def info(self) -> DaemonNodeInfo:
        """State, error, ids and addresses of this node."""
        return self._info

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Rejoin the cluster of the node record, if there is one, or remove leftovers. The session ends with the block."""
        async with self._supervisor.running() as group:
            discard_leftover(self._options.state_dir)
            record = self._state.records.load()
            if record is not None:
                self._supervisor.resume(record)
            elif self._state.has_leftovers() or self._agent.worker.records():
                group.create_task(self._remove_leftovers())
            yield

    def notify_description_changed(self) -> None:
        """Tell the cluster that this host's description, such as its labels, has changed."""
        if self._supervisor.session is not None:
            self._supervisor.session.notify_description_changed()

    async def swarm_init(self, request: SwarmInit) -> str:
        """Create a cluster with this node as its only manager. Returns the node's id.

        Raises:
            UnavailableError: the node is in a cluster already, or the manager did not start.
            InvalidArgumentError: no address to advertise can be chosen, or ``--force-new-cluster`` cannot apply a setting.
        """
        if request.force_new_cluster:
            refuse_with_external_store(self._options, "--force-new-cluster")
        if request.force_new_cluster and self._state.records.load() is not None:
            force_new_cluster_flags.refuse_unsupported_flags(request)
            await self._supervisor.run_to_completion(self._force_new_cluster(request))
            return self._info.node_id
        self._refuse_member()
        async with self._busy:
            record = await self._new_manager_record(request)
            bootstrap = BootstrapSettings(
                spec=request.spec,
                availability=_availability(request.availability),
                default_address_pool=request.default_address_pool,
                subnet_size=request.subnet_size,
                data_path_port=request.data_path_port,
            )
            await self._join(record, SessionStart(mode=ManagerMode.BOOTSTRAP, bootstrap=bootstrap))
            return self._info.node_id

    async def swarm_join(self, request: SwarmJoin) -> None:
        """Join a cluster. The token decides whether as manager or worker.

        Raises:
            UnavailableError: the node is in a cluster already, its ports are in use, or no manager answers.
            UnauthenticatedError: the token is not accepted.
        """
        self._refuse_member()
        async with self._busy:
            chosen = await self._choose_addresses(request)
            managers = tuple(node_ports.mtls_address(self._options, text) for text in request.remote_addrs)
            require_free_ports(chosen.listen_addr, node_ports.ports_of(self._options, chosen))
            identity = await join_cluster(
                self._state.identities,
                request.join_token,
                request.remote_addrs,
                availability=_availability(request.availability),
            )
            record = msgspec.structs.replace(
                chosen,
                node_id=identity.node_id,
                cluster_id=identity.cluster_id,
                role=identity.role,
                managers=managers,
            )
            self._state.records.save(record)
            mode = ManagerMode.JOIN if identity.role is NodeRole.MANAGER else None
            await self._join(record, SessionStart(mode=mode))

    async def swarm_restore(self, request: SwarmRestore, backup: AsyncIterator[bytes]) -> str:
        """Create a cluster from a backup with this node as its only manager. Returns the node's id.

        Raises:
            UnavailableError: the node is in a cluster, the backup or its key is invalid, or the manager did not start. Nothing has changed.
        """
        refuse_with_external_store(self._options, "a restore")
        await self._supervisor.run_to_completion(self._restore(request, backup))
        return self._info.node_id

    async def swarm_reconnect(self, addrs: Sequence[str]) -> None:
        """Look for this node's cluster at these addresses too: HOST or HOST:PORT of the join port.

        Raises:
            UnavailableError: the node is in no cluster. InvalidArgumentError: an address cannot be a manager's; none is stored then.
        """
        for text in addrs:
            await addresses.resolve_manager_host(text, self._options.join_port)
        managers = [node_ports.mtls_address(self._options, text) for text in addrs]
        session = self._supervisor.session
        if session is None:
            raise UnavailableError(self._supervisor.error or (LOCKED if self._supervisor.locked else NOT_MEMBER))
        session.add_managers(managers)

    async def swarm_leave(self, *, force: bool) -> None:
        """Leave the cluster and remove everything of it: tasks, secrets, networks, identity and the manager's log.

        Raises:
            UnavailableError: the node is in no cluster, or it is a manager and ``force`` is not given.
        """
        await self._supervisor.run_to_completion(self._leave(force=force))

    async def swarm_unlock(self, unlock_key: str) -> None:
        """Rejoin the cluster with the key that unlocks this manager's files.

        Raises:
            InvalidArgumentError: the key is wrong or malformed; nothing has changed. ConflictError: nothing is locked.
            UnavailableError: the node is in no cluster.
        """
        async with self._busy:
            record = self._supervisor.locked
            if self._supervisor.is_idle:
                raise UnavailableError(NOT_MEMBER)
            if record is None:
                raise ConflictError("swarm is not locked")
            await asyncio.to_thread(self._state.unlock_keys.unlock, unlock_key)
            log.info("this manager is unlocked")
            self._supervisor.start(record, SessionStart(is_established=True))

    async def _force_new_cluster(self, request: SwarmInit) -> None:
        """Continue the same cluster with this manager alone. If anything fails before the manager has done so, the membership stays as it
        was. Tasks run on in any case.
        """
        if self._busy.locked():
            raise UnavailableError(BUSY)
        async with self._busy:
            record = self._state.records.load()
            if self._supervisor.error or self._supervisor.locked is not None:
                raise UnavailableError(self._supervisor.error or LOCKED)
            if record is None or record.role is not NodeRole.MANAGER:
                raise UnavailableError(FORCE_NEEDS_MANAGER)
            await quorum.refuse_unless_quorum_lost(self._options.run_dir / "manager.sock")
            await quorum.refuse_if_peers_have_leader(self._state.identities.require(), record.managers)
            moved = await current_addresses(self._options, record, request.advertise_addr, request.listen_addr)
            await self._supervisor.stop()
            alone = msgspec.structs.replace(moved, managers=())
            session = self._supervisor.start(alone, SessionStart(mode=ManagerMode.FORCE))
            reason = await self._supervisor.wait_joined(session)
            if not session.joined.is_set():
                await self._supervisor.stop()
                self._supervisor.start(self._state.records.load() or record, SessionStart(is_established=True))
                raise UnavailableError(
                    reason or f"the cluster did not start within {JOIN_SECONDS:g} s; see the daemon's log"
                )

    async def _restore(self, request: SwarmRestore, backup: AsyncIterator[bytes]) -> None:
        """If the client disconnects during the upload, nothing has changed. After the upload the restore runs to its end."""
        self._refuse_member(RESTORE_ON_MEMBER)
        async with self._busy:
            record = await self._new_manager_record(request)
            async with receive_backup(backup, self._options.state_dir) as path:
                self._state.unlock_keys.backup_key = request.key
                try:
                    bootstrap = BootstrapSettings(restore_path=str(path))
                    await self._join(record, SessionStart(mode=ManagerMode.RESTORE, bootstrap=bootstrap))
                finally:
                    self._state.unlock_keys.backup_key = ""

    async def _leave(self, *, force: bool) -> None:
        supervisor = self._supervisor
        async with self._busy:
            if supervisor.is_idle:
                raise UnavailableError(NOT_MEMBER)
            if supervisor.locked is not None and not force:
                raise UnavailableError(LEAVE_LOCKED)
            if self._info.is_manager and not force:
                raise UnavailableError(LEAVE_LAST_MANAGER if len(self._info.managers) == 1 else LEAVE_MANAGER)
            await supervisor.stop()
            await self._remove_membership()

    async def _join(self, record: NodeRecord, start: SessionStart) -> None:
        """Start a first session and wait until the cluster knows this node. If that fails, remove everything and raise the reason."""
        session = self._supervisor.start(record, start)
        reason = await self._supervisor.wait_joined(session)
        if session.joined.is_set():
            return
        if start.mode is ManagerMode.JOIN:
            await leave_group(self._state.identities.require(), record.managers)
        await self._supervisor.stop()
        await self._remove_membership()
        if reason:
            raise UnavailableError(reason)
        raise DeadlineError(f"the cluster did not accept this node within {JOIN_SECONDS:g} s; see the daemon's log")

    async def _remove_membership(self) -> None:
        """Remove the record first: a daemon that stops during the rest removes what is left at its next start."""
        self._state.records.remove()
        await self._supervisor.leave()
        await self._state.remove_identity()

    async def _remove_leftovers(self) -> None:
        async with self._busy:
            log.info("removing what an interrupted init, join or leave has left")
            await self._remove_membership()

    def _refuse_member(self, message: str = ALREADY_MEMBER) -> None:
        if not self._supervisor.is_idle or self._busy.locked():
            raise UnavailableError(message)

    async def _new_manager_record(self, request: SwarmInit | SwarmRestore) -> NodeRecord:
        chosen = await self._choose_addresses(request)
        return msgspec.structs.replace(
            chosen, node_id=new_id(), cluster_id="", role=NodeRole.MANAGER, store=self._options.store
        )

    async def _choose_addresses(self, request: SwarmInit | SwarmJoin | SwarmRestore) -> NodeRecord:
        """A record with the addresses and the port of the request, without a node."""
        local = await asyncio.to_thread(addresses.local_addresses)
        advertise, listen = request.advertise_addr, request.listen_addr
        advertise_addr, listen_addr = addresses.choose_addresses(
            addresses.host_of(advertise), addresses.host_of(listen), self._options.advertise_addr, local
        )
        data_path = "" if isinstance(request, SwarmRestore) else addresses.host_of(request.data_path_addr)
        return NodeRecord(
            node_id="",
            cluster_id="",
            advertise_addr=advertise_addr,
            listen_addr=listen_addr,
            join_port=node_ports.chosen_join_port(self._options, listen, advertise),
            data_path_addr=addresses.choose_data_path_address(data_path, local),
        )


def _availability(text: str) -> NodeAvailability:
    return NodeAvailability[text.upper()] if text else NodeAvailability.ACTIVE
