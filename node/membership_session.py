"""Membership session: one connected membership, with the agent's session, the manager process, certificate renewal and role changes.

Invariant: the cluster knows this node once ``joined`` is set, and the record is on disk before that. Built and restarted by
``node.membership_supervisor``. Role changes are in ``node.role_follower``, the certificate in ``node.certificate``.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from agent.agent import Agent
from agent.image.peer.sharing import SharingAddress
from agent.session import AgentSession
from agent.task_call.server import TaskCallServer
from covey import codec
from covey.clock import wall_clock
from covey.errors import first_cause
from covey.objects import Node
from covey.states import NodeRole
from covey.task_group import TaskGroup
from coveypb.v1 import dispatcher_pb2
from engine.interfaces import ManagerPeer
from manager.interface import ManagerMode
from node import addresses
from node.certificate import NodeCertificate
from node.manager_config import BootstrapSettings
from node.manager_contact import disconnected_message
from node.manager_process import ManagerProcess
from node.membership_state import MembershipState
from node.node_ports import ports_of
from node.node_record import NodeRecord, SessionRecord
from node.options import DaemonOptions
from node.role_follower import RoleFollower


class SessionStart(msgspec.Struct, frozen=True, kw_only=True):
    """How a session begins. ``mode`` is the start mode of a first manager; None continues what the record and the disk say.
    ``is_established`` means that this node is a member whatever goes wrong, rather than on its way into the cluster. ``last_error`` is
    why the previous session ended.
    """

    mode: ManagerMode | None = None
    bootstrap: BootstrapSettings = BootstrapSettings()
    is_established: bool = False
    last_error: str = ""


class MembershipSession:
    """One membership until it fails or ends. ``joined`` is set once the cluster knows this node and, for a manager, its manager serves;
    ``rejected`` once the cluster has refused this node with its present addresses.
    """

    def __init__(
        self, options: DaemonOptions, agent: Agent, state: MembershipState, record: NodeRecord, start: SessionStart
    ) -> None:
        self.record = SessionRecord(state.records, record)
        self.peers: Sequence[ManagerPeer] = tuple(ManagerPeer(node_id="", addr=addr) for addr in record.managers)
        self.is_established = start.is_established
        self.joined = asyncio.Event()
        self.rejected = asyncio.Event()
        self.last_error = start.last_error
        self._options = options
        self._agent = agent
        self._state = state
        self._waits_for_manager = start.mode is not None
        self._manager = ManagerProcess(options.run_dir, state.unlock_keys)
        self._certificate = NodeCertificate(state.identities, self._renewal_addrs, self.notify_description_changed)
        self._role = RoleFollower(
            options,
            state,
            self.record,
            self._manager,
            self._certificate,
            mode=start.mode,
            bootstrap=start.bootstrap,
        )
        self._agent_session: AgentSession | None = None

    @property
    def error(self) -> str:
        """Human-readable reason why the node is not working, or an empty string."""
        session = self._agent_session
        silent = session.disconnected_seconds if session is not None and self.is_established else 0.0
        return (
            self._manager.error
            or self._certificate.error
            or self.last_error
            or disconnected_message(silent, wall_clock())
        )

    def add_managers(self, managers: Sequence[str]) -> None:
        """Look for a leader at these mTLS addresses too. A manager that cannot reach its group restarts with them."""
        self.record.update(managers=tuple(dict.fromkeys((*managers, *self.record.current.managers))))
        if self._agent_session is not None:
            self._agent_session.add_managers(managers)
            if not self._agent_session.connected.is_set():
                self._manager.restart()

    def set_record(self, record: NodeRecord) -> None:
        """Use the new addresses of this host. Called before ``run``."""
        self.record.replace(record)
        self.last_error = ""

    def set_error(self, reason: str) -> None:
        """Show this error until the session makes progress. An empty string clears it."""
        self.last_error = reason

    async def run(self) -> None:
        """Run until cancelled, or until the cluster has removed this node.

        Raises:
            CoveyError: the first start failed, or the node was removed.
        """
        try:
            async with TaskGroup() as group:
                group.create_task(self._role.run(lambda: self.is_established, self.set_error))
                await self._start_agent_session(group)
        except BaseExceptionGroup as errors:
            raise first_cause(errors) from errors

    async def _start_agent_session(self, group: TaskGroup) -> None:
        if self._waits_for_manager:
            await self._manager.wait_ready()
        identity = self._state.identities.require()
        self.record.update(node_id=identity.node_id, cluster_id=identity.cluster_id)
        advertise_addr = self.record.current.advertise_addr
        await self._agent.enter_cluster(advertise_addr, self.record.current.data_path_addr)
        session = AgentSession(
            self._state.identities,
            self._manager_addrs(),
            self._agent.worker,
            self._agent.sharing,
            self._agent.describe_host,
            networks=self._agent.networks,
            task_calls=TaskCallServer(self._state.identities, self._agent.containers),
            addr=advertise_addr,
            on_state=self._handle_state,
            on_refused=self.set_error,
            on_rejected=self.rejected.set,
        )
        self._agent_session = session
        self._agent.networks.encryption.on_announcement = session.notify_description_changed
        self._agent.networks.routes.on_change = session.notify_description_changed
        self._agent.sharing.on_addr_change = session.notify_description_changed
        group.create_task(self._agent.sharing.run(self._state.identities, self._sharing_address()))
        group.create_task(session.run())
        group.create_task(self._certificate.run())

    def _sharing_address(self) -> SharingAddress:
        return SharingAddress(
            self.record.current.listen_addr, self.record.current.advertise_addr, self._options.image_port
        )

    def _manager_addrs(self) -> Sequence[str]:
        """The mTLS addresses where a leader may be, this node's own manager first. The manager may not be serving yet. Its address is
        still listed, because after an address change it may be the only valid one.
        """
        record = self.record.current
        is_manager = self._manager.running or record.role is NodeRole.MANAGER
        own_addr = addresses.join_host_port(record.advertise_addr, ports_of(self._options, record).mtls)
        own = (own_addr,) if is_manager else ()
        return tuple(dict.fromkeys((*own, *record.managers)))

    def _renewal_addrs(self) -> Sequence[str]:
        """Where to renew the certificate. The socket of this node's own manager comes first, because it accepts an expired one."""
        own = (f"unix:{self._options.run_dir}/manager.sock",) if self._manager.running else ()
        return (*own, *self._manager_addrs())

    def _handle_state(self, state: dispatcher_pb2.SessionState) -> None:
        """Take over what the leader reports of this node, at the start of a session and on each change."""
        node = codec.from_wire(Node, state.node)
        record = self.record.current
        self.peers = tuple(ManagerPeer(node_id=manager.node_id, addr=manager.addr) for manager in state.managers)
        self._agent.set_node(node)
        self._agent.set_data_path_port(state.data_path_port)
        store = self._options.store if node.role is NodeRole.MANAGER and self._manager.running else record.store
        managers = tuple(peer.addr for peer in self.peers) or record.managers
        self.record.update(managers=managers, role=node.role, store=store, data_path_port=state.data_path_port)
        self._role.desired.set(node.role)
        self._certificate.set_desired(state)
        self.last_error = ""
        self.is_established = True
        self.joined.set()

    def notify_description_changed(self) -> None:
        """Send the host's description to the leader again."""
        if self._agent_session is not None:
            self._agent_session.notify_description_changed()
