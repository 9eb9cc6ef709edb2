"""Images of tasks: makes sure that this host has the image of a task before its container is created.

Invariant: an image that is on the host is used as it is. The managers pin services to digests when a registry answers, so a
reference without a digest means that none did, and a task starts without asking one.
"""

from agent.image.model import Image
from agent.image.peer.sharing import ImageSharing
from agent.image.registry.auth_config import ANONYMOUS, Credentials
from agent.image.registry.service import RegistryService
from agent.image.store import ImageStore
from covey import image_reference
from covey.errors import NotFoundError


class TaskImages:
    """One per daemon. Tasks that need the same image at the same time share one pull."""

    def __init__(self, images: ImageStore, registries: RegistryService, sharing: ImageSharing) -> None:
        self._images = images
        self._registries = registries
        self._sharing = sharing

    def get(self, name: str) -> Image:
        """The image of a reference or id on this host. Raises NotFoundError."""
        return self._images.get(name)

    async def ensure(self, reference: str, credentials: Credentials = ANONYMOUS) -> Image:
        """The image, from this host, another node or a registry. Raises CoveyError in the registry's words."""
        try:
            return self._images.get(reference)
        except NotFoundError:
            if image_reference.is_image_id(reference):
                await self._sharing.acquire(reference, lambda: self._refuse(reference))
                return self._images.get(reference)

        async def pull() -> None:
            with self._registries.pull(reference, credentials=credentials) as follower:
                await follower.result()

        await self._sharing.acquire(reference, pull)
        return self._images.get(reference)

    async def _refuse(self, image_id: str) -> None:
        raise NotFoundError(f"No such image: {image_id}")
