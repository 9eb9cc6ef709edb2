"""Local node information for the Engine API: state, error, ids, addresses and known managers.

Invariant: every property is read from memory. Implements ``engine.interfaces.LocalNodeInfo``. Owned by ``node.membership``.
"""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

from covey.ids import new_id
from covey.states import NodeRole
from engine.interfaces import LocalNodeState, ManagerPeer
from node.membership_supervisor import MembershipSupervisor
from node.node_ports import join_address
from node.options import DaemonOptions


class DaemonNodeInfo:
    """What the daemon knows of its node. ``busy`` is held while a join or leave is in progress."""

    def __init__(self, options: DaemonOptions, supervisor: MembershipSupervisor, busy: asyncio.Lock) -> None:
        self.engine_id = load_engine_id(options.state_dir)
        self.state_dir = str(options.state_dir)
        self._options = options
        self._supervisor = supervisor
        self._busy = busy

    @property
    def hostname(self) -> str:
        return socket.gethostname()

    @property
    def state(self) -> LocalNodeState:
        supervisor = self._supervisor
        if supervisor.session is None and supervisor.locked is None and self._busy.locked():
            return LocalNodeState.PENDING
        return supervisor.local_state

    @property
    def error(self) -> str:
        session = self._supervisor.session
        return self._supervisor.error or (session.error if session else "")

    @property
    def node_id(self) -> str:
        record = self._supervisor.record
        return record.node_id if record else ""

    @property
    def advertise_addr(self) -> str:
        session = self._supervisor.session
        return session.record.current.advertise_addr if session else ""

    @property
    def is_manager(self) -> bool:
        session = self._supervisor.session
        return session is not None and session.record.current.role is NodeRole.MANAGER

    @property
    def managers(self) -> Sequence[ManagerPeer]:
        """Known managers with their join ports, because ``docker swarm join-token`` prints these addresses for ``swarm join``."""
        session = self._supervisor.session
        peers = session.peers if session else ()
        return [ManagerPeer(node_id=peer.node_id, addr=self.join_addr(peer.addr)) for peer in peers]

    def join_addr(self, mtls_addr: str) -> str:
        """Where nodes join through the manager with this mTLS address."""
        return join_address(self._options, mtls_addr)


def load_engine_id(state_dir: Path) -> str:
    """The daemon's id, created once for each state directory."""
    path = state_dir / "engine-id"
    if not path.exists():
        path.write_text(new_id())
    return path.read_text().strip()
