"""`docker rename`."""

from __future__ import annotations

import msgspec

from agent.container.commands.create import check_name
from agent.container.host import ContainerHost


async def rename_container(host: ContainerHost, ref: str, name: str) -> None:
    """Raises AlreadyExistsError if the name is in use."""
    record = host.index.find(ref)
    name = name.removeprefix("/")
    check_name(name)
    old_name = record.config.name
    host.index.set_config(record, msgspec.structs.replace(record.config, name=name))
    host.index.emit(record, "rename", oldName=f"/{old_name}")
