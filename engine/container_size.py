"""Sizes of a container as ``docker ps --size``, ``inspect --size`` and ``system df`` show them."""

import contextlib

from agent.container.model import Container
from covey.errors import CoveyError, NotFoundError
from engine.interfaces import AgentInterface


async def size_fields(agent: AgentInterface, container: Container) -> dict[str, int]:
    """``SizeRw``, what the container wrote, and ``SizeRootFs``, which includes its image."""
    written, image = 0, 0
    with contextlib.suppress(NotFoundError):  # removed meanwhile
        written = await agent.containers.writable_bytes(container.id)
    with contextlib.suppress(CoveyError):  # removed by force
        image = agent.images.get(container.config.image_id).size
    return {"SizeRw": written, "SizeRootFs": written + image}
