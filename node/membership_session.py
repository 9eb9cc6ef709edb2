"""One membership from join to leave: the agent's session, the manager's process when the role asks for it, the certificate's renewal.

Law: the role in the store is followed: promoted, the node renews its certificate and starts a manager; demoted, it stops it, forgets
the log and renews. A daemon that dies between two of these steps goes on with the next one when it is started again. Owned by
``node.membership``.
"""

import asyncio
import datetime as dt
import logging
import shutil
import socket
from collections.abc import Sequence

import msgspec

from agent.agent import Agent
from agent.identity import CertificateRenewer, DesiredCertificate, IdentityStore, NodeIdentity, renew_certificate
from agent.session import AgentSession
from covey import codec
from covey.clock import SECOND, wall_clock
from covey.errors import CoveyError, first_cause
from covey.objects import ClusterSpec, Node
from covey.states import NodeAvailability, NodeRole
from coveypb.v1 import dispatcher_pb2
from engine.interfaces import ManagerPeer
from manager.bootstrap.raft_directory import has_state
from manager.config import ManagerConfig, ManagerMode
from manager.etcd.target import remove_store_key
from node import addresses
from node.manager_contact import disconnected_message
from node.manager_process import ManagerProcess
from node.manager_state import remove_manager_state
from node.node_record import NodeRecord, NodeRecordFile
from node.options import DaemonOptions
from node.unlock_key_cache import UnlockKeyCache

RENEW_PAUSE_SECONDS = 1.0
DEMOTED_SECONDS = 3.0
"""How long a manager that the group has removed waits to hear that its role is gone, which follows within a second."""

EXPIRED_WORKER = 'use "docker swarm leave --force" here and join again'
EXPIRED_MANAGER = (
    "if other managers work, " + EXPIRED_WORKER + ". If none does, the cluster is on these managers' disks alone: "
    'switch all but one off, and use "docker swarm init --force-new-cluster" on that one'
)
"""Whoever leaves forgets the log: on the last managers that would be the cluster's end."""

log = logging.getLogger(__name__)


class BootstrapSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a new cluster begins with; ``restore_path`` is the backup of one that begins again."""

    spec: ClusterSpec = ClusterSpec()
    availability: NodeAvailability = NodeAvailability.ACTIVE
    default_address_pool: tuple[str, ...] = ()
    subnet_size: int = 0
    data_path_port: int = 0
    restore_path: str = ""


class MembershipSession:
    """``settled`` is set once the cluster knows this node and, for a manager, its manager serves. ``mode`` None goes on with what the
    record and the disk say; ``lasting`` says that this node is of the cluster whatever goes wrong, rather than on its way into it;
    ``trouble`` is what ended the life before.
    """

    def __init__(
        self,
        options: DaemonOptions,
        agent: Agent,
        records: NodeRecordFile,
        identities: IdentityStore,
        record: NodeRecord,
        *,
        unlock_keys: UnlockKeyCache,
        mode: ManagerMode | None,
        bootstrap: BootstrapSettings | None,
        established: bool,
        last_error: str = "",
    ) -> None:
        self.record = record
        self.peers: Sequence[ManagerPeer] = tuple(ManagerPeer(node_id="", addr=addr) for addr in record.managers)
        self.established = established
        self.joined = asyncio.Event()
        self._trouble = last_error
        self._options = options
        self._agent = agent
        self._records = records
        self._identities = identities
        self._mode = mode
        self._bootstrap = bootstrap or BootstrapSettings()
        self._vault = unlock_keys
        self._manager = ManagerProcess(options.run_dir, unlock_keys)
        self._wanted_role = _RoleWatch(record.role)
        self._session: AgentSession | None = None
        self._keeper = CertificateRenewer(identities, self._renewers, self._describe_again)
        self._saved = False

    @property
    def error(self) -> str:
        """What keeps this node from its work, for people; empty while nothing does."""
        try:
            ended = certificate_expired_message(self._identities.load(), wall_clock())
        except CoveyError as error:
            ended = error.message
        except (OSError, ValueError) as error:
            ended = f"this node's identity cannot be read: {error}"
        silent = self._session.disconnected_seconds if self._session is not None and self.established else 0.0
        return self._manager.error or ended or self._trouble or disconnected_message(silent, wall_clock())

    @property
    def manager_is_running(self) -> bool:
        """Whether this node's manager serves."""
        return self._manager.running

    def reconnect(self, managers: Sequence[str]) -> None:
        """Managers are at these mTLS addresses too."""
        self._save(managers=tuple(dict.fromkeys((*managers, *self.record.managers))))
        if self._session is not None:
            self._session.add_managers(managers)
            if not self._session.connected.is_set():
                self._manager.restart()

    def set_record(self, record: NodeRecord) -> None:
        """This host has another address now; told before ``run``."""
        self.record, self._trouble = record, ""

    def set_error(self, reason: str) -> None:
        """Why it cannot begin yet."""
        self._trouble = reason

    async def run(self) -> None:
        """Until cancelled, or until the cluster has removed this node.

        Raises:
            CoveyError: a first start that failed, with its reason; or the node was removed.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_role())
                await self._be_a_node(group)
        except BaseExceptionGroup as errors:
            raise first_cause(errors) from errors

    async def _be_a_node(self, group: asyncio.TaskGroup) -> None:
        if self._mode is not None:
            await self._manager.wait_ready()
        identity = self._identities.require()
        self._save(node_id=identity.node_id, cluster_id=identity.cluster_id)
        await self._agent.enter_cluster(self.record.advertise_addr)
        session = AgentSession(
            self._identities,
            self._managers(),
            self._agent.worker,
            self._agent.describe_host,
            addr=self.record.advertise_addr,
            on_state=self._told,
            on_refused=self._refused,
        )
        self._session = session
        group.create_task(session.run())
        group.create_task(self._keeper.run())

    def _managers(self) -> Sequence[str]:
        """Where a leader may be asked for: this node's own manager first."""
        own = (
            (addresses.join_host_port(self.record.advertise_addr, self._options.mtls_port),) if self._manages() else ()
        )
        return tuple(dict.fromkeys((*own, *self.record.managers)))

    def _manages(self) -> bool:
        """It may not serve yet; but its address may be the only right one, on a host that came back with another."""
        return self.manager_is_running or self.record.role is NodeRole.MANAGER

    def _renewers(self) -> Sequence[str]:
        """Where a certificate may be renewed: on the socket of this node's own manager too, which asks for none that is valid."""
        own = (f"unix:{self._options.run_dir}/manager.sock",) if self.manager_is_running else ()
        return (*own, *self._managers())

    def _save(self, **changes: object) -> None:
        fresh = msgspec.structs.replace(self.record, **changes)
        if fresh != self.record or not self._saved:
            self.record = fresh
            self._records.save(fresh)
            self._saved = True

    def _told(self, state: dispatcher_pb2.SessionState) -> None:
        """What the leader says of this node, at the start of a session and at each change."""
        node = codec.from_wire(Node, state.node)
        self.peers = tuple(ManagerPeer(node_id=manager.node_id, addr=manager.addr) for manager in state.managers)
        self._agent.set_node(node)
        store = self._options.store if node.role is NodeRole.MANAGER and self.manager_is_running else self.record.store
        self._save(
            managers=tuple(peer.addr for peer in self.peers) or self.record.managers, role=node.role, store=store
        )
        self._wanted_role.set(node.role)
        self._keeper.set_desired(
            DesiredCertificate(
                roots=state.root_certificates,
                issuer=(state.issuer_subject, state.issuer_public_key),
                validity_ns=state.certificate_life_ns,
                spread_ns=state.renewal_spread_ns,
            )
        )
        self._trouble = ""
        self.established = True
        self.joined.set()

    def _describe_again(self) -> None:
        if self._session is not None:
            self._session.notify_description_changed()

    def _refused(self, reason: str) -> None:
        self._trouble = reason

    async def _follow_role(self) -> None:
        """Run a manager for as long as the role says so."""
        mode = self._mode
        if mode is None and self.record.role is NodeRole.WORKER:
            await self._forget_log(keep=False)  # of a demotion that was interrupted
            await self._renewed()
            await self._forget_keys()
        while True:
            await self._wanted_role.wait_for(NodeRole.MANAGER)
            if mode is None:
                await self._renewed()
            await self._serve_as_manager(mode or ManagerMode.JOIN)
            await self._forget_log(keep=self._wanted_role.current is NodeRole.MANAGER)
            await self._renewed()
            if self._wanted_role.current is NodeRole.WORKER:
                await self._forget_keys()
            mode = None

    async def _serve_as_manager(self, mode: ManagerMode) -> None:
        """One term of office: until the role is gone or the group has removed this manager. A member goes on; who is none yet founds
        the group or joins it. One that was removed and stays a manager in the store (demoted and promoted in one breath) joins anew.
        """

        def configure() -> ManagerConfig:
            forced = mode is ManagerMode.FORCE and not self._manager.has_served
            return self._config(ManagerMode.RESTART if self._is_member() and not forced else mode)

        async with asyncio.TaskGroup() as group:
            process = group.create_task(self._manager.run(configure, must_start=not self.established))
            demoted = group.create_task(self._wanted_role.wait_for(NodeRole.WORKER))
            await asyncio.wait({process, demoted}, return_when=asyncio.FIRST_COMPLETED)
            process.cancel()
            await asyncio.wait({demoted}, timeout=DEMOTED_SECONDS)
            demoted.cancel()

    def _is_member(self) -> bool:
        """Whether there is a manager's state to go on with; in etcd there is one for a node that served before."""
        if self._options.store:
            return self._mode is None and bool(self.record.store)
        return has_state(self._options.state_dir / "manager" / "raft")

    async def _forget_log(self, *, keep: bool) -> None:
        """All that a manager kept on this host, also the key with which managers seal what they keep in etcd; but not the keys of its
        disk: this node's own key lies under them until it is a worker's. With ``keep`` the log is put aside.
        """
        remove_store_key(self._identities.folder)
        self._save(store="")
        await asyncio.to_thread(remove_manager_state, self._options.state_dir / "manager", keep_log=keep)

    async def _forget_keys(self) -> None:
        """A worker has no unlock key, so its own key lies plain; only then what it lay under goes."""
        await asyncio.to_thread(self._identities.store_key_unsealed)
        await asyncio.to_thread(shutil.rmtree, self._options.state_dir / "manager", ignore_errors=True)
        self._vault.clear()

    async def _renewed(self) -> None:
        """A certificate that says the role that this node has now; asked for until the leader gives it."""
        while self._identities.require().role is not self._wanted_role.current:
            try:
                await renew_certificate(self._identities, self._renewers())
                self._describe_again()
            except CoveyError as error:
                self._trouble = error.message
                log.warning(
                    "the certificate does not say %s yet: %s", self._wanted_role.current.name.lower(), error.message
                )
            if self._identities.require().role is not self._wanted_role.current:
                await asyncio.sleep(RENEW_PAUSE_SECONDS)
        self._trouble = ""

    def _config(self, mode: ManagerMode) -> ManagerConfig:
        record, options, bootstrap = self.record, self._options, self._bootstrap
        return ManagerConfig(
            state_dir=str(options.state_dir),
            run_dir=str(options.run_dir),
            node_id=record.node_id,
            hostname=socket.gethostname(),
            advertise_addr=record.advertise_addr,
            listen_addr=record.listen_addr,
            join_port=options.join_port,
            mtls_port=options.mtls_port,
            mode=mode,
            join_addrs=record.managers,
            cluster_spec=bootstrap.spec,
            availability=bootstrap.availability,
            default_address_pool=bootstrap.default_address_pool,
            subnet_size=bootstrap.subnet_size,
            data_path_port=bootstrap.data_path_port,
            restore_path=bootstrap.restore_path,
            store=options.store,
            store_ca=options.store_ca,
            store_cert=options.store_cert,
            store_key=options.store_key,
            log_level=options.log_level,
        )


def certificate_expired_message(identity: NodeIdentity | None, now_ns: int) -> str:
    """What a person is to do about a certificate that ended; empty if it has not."""
    if identity is None or identity.not_after_ns > now_ns:
        return ""
    moment = f"{dt.datetime.fromtimestamp(identity.not_after_ns / SECOND, dt.UTC):%Y-%m-%d %H:%M} UTC"
    remedy = EXPIRED_MANAGER if identity.role is NodeRole.MANAGER else EXPIRED_WORKER
    return f"this node's certificate expired on {moment}, while it could not be renewed: no other node accepts it; {remedy}"


class _RoleWatch:
    """A role that can be waited for."""

    def __init__(self, role: NodeRole) -> None:
        self.current = role
        self._changed = asyncio.Event()

    def set(self, role: NodeRole) -> None:
        self.current = role
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait_for(self, role: NodeRole) -> None:
        while self.current is not role:
            await self._changed.wait()
