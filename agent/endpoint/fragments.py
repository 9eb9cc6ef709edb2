"""The part of the reconciler and of the network driver that endpoints on local networks need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from agent.dns.zone import NetworkZone
from agent.network.model import HostRoute, LocalAttachment
from agent.network.namespace_state import Fragment


class Fragments(Protocol):
    """The part of ``agent.network.reconciler.Reconciler`` that endpoints need."""

    async def put(self, key: str, fragment: Fragment) -> None: ...
    async def drop(self, key: str) -> None: ...


class LocalDriver(Protocol):
    """The part of ``agent.network.driver.NetworkDriver`` that local networks need."""

    async def set_local_names(self, zones: Mapping[str, NetworkZone | None]) -> None: ...
    async def set_local_attachments(self, container_id: str, attachments: Sequence[LocalAttachment]) -> None: ...
    async def host_routes(self) -> tuple[HostRoute, ...]: ...
    async def outbound_mtu(self) -> int: ...
