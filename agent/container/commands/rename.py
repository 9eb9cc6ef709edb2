"""`docker rename`."""

from __future__ import annotations

import msgspec

from agent.container.commands.create import check_name
from agent.container.host import ContainerHost
from covey.errors import InvalidArgumentError


async def rename_container(host: ContainerHost, ref: str, name: str) -> None:
    """Raises AlreadyExistsError if the name is in use, InvalidArgumentError if it is no name or the container's own."""
    record = host.index.find(ref)
    name = name.removeprefix("/")
    old_name = record.config.name
    if name == old_name:
        raise InvalidArgumentError("Renaming a container with the same name as its current name")
    try:
        check_name(name)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(
            f"Error when allocating new name: {error.message.replace(f'({name})', f'(/{name})')}"
        ) from None
    host.index.set_config(record, msgspec.structs.replace(record.config, name=name))
    host.index.emit(record, "rename", oldName=f"/{old_name}")
    await host.networks.renamed(record.config)
