"""Interface of the network driver to the owner of containers' sandboxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agent.network.model import Attachment


class SandboxDriver(Protocol):
    """The part of ``agent.network.driver.NetworkDriver`` that containers need."""

    async def create_sandbox(self, container_id: str, *, nameservers: Sequence[str] = ()) -> str: ...
    async def attach(self, container_id: str, attachment: Attachment) -> None: ...
    async def detach(self, container_id: str, network_id: str) -> None: ...
    async def destroy_sandbox(self, container_id: str) -> None: ...
    async def adopt(
        self, container_id: str, attachments: Sequence[Attachment], *, nameservers: Sequence[str] = ()
    ) -> str: ...
