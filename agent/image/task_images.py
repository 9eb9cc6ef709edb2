"""Images of tasks: makes sure that this host has the image of a task before its container is created.

An image by id or digest that is here is used. A tag that is here is asked for at its registry, as Docker does, so that tasks
run what the tag names now; if that fails, the image that is here is used. An image that is not here comes from another node
or the registry.

Invariant: a registry that cannot be reached delays only the first of the tasks whose images are here.
"""

import asyncio
import logging
from contextlib import aclosing

from agent.image.model import Image
from agent.image.peer.sharing import ImageSharing
from agent.image.registry.auth_config import Credentials, decode_header
from agent.image.registry.errors import RegistryConnectionError
from agent.image.registry.service import RegistryService
from agent.image.store import ImageStore
from covey import image_reference
from covey.clock import SECOND, Clock, wall_clock
from covey.errors import CoveyError, NotFoundError

log = logging.getLogger(__name__)

UNREACHABLE_SECONDS = 60
REFRESH_ANSWER_SECONDS = 5.0
"""A registry that does not answer, behind a firewall for example, must not delay a task whose image is here."""
_ABSENT = "No such image: "


class TaskImages:
    """One per daemon. Tasks that need the same image at the same time share one pull."""

    def __init__(
        self,
        images: ImageStore,
        registries: RegistryService,
        sharing: ImageSharing,
        clock: Clock = wall_clock,
        *,
        refresh_answer_seconds: float = REFRESH_ANSWER_SECONDS,
    ) -> None:
        self._images = images
        self._registries = registries
        self._sharing = sharing
        self._clock = clock
        self._refresh_answer_seconds = refresh_answer_seconds
        self._unreachable_until_ns: dict[str, int] = {}

    async def ensure(self, reference: str, registry_auth: str = "") -> Image:
        """The image, from this host, another node or a registry. `registry_auth` is the client's `X-Registry-Auth`.

        Raises:
            NotFoundError: the image is not to be had; with the registry's words.
        """
        credentials = decode_header(registry_auth)
        if self._is_here(reference):
            await self._refresh(reference, credentials)
        else:
            await self._acquire(reference, credentials)
        return self._images.get(reference)

    def _is_here(self, reference: str) -> bool:
        try:
            self._images.get(reference)
        except NotFoundError:
            return False
        return True

    async def _refresh(self, reference: str, credentials: Credentials) -> None:
        """Pull what a tag names now. A failure is logged: the image that is here is used."""
        if image_reference.is_image_id(reference):
            return
        parsed = image_reference.parse(reference)
        if parsed.digest or self._clock() < self._unreachable_until_ns.get(parsed.domain, 0):
            return
        try:
            await self._pull(reference, credentials, answer_seconds=self._refresh_answer_seconds)
        except RegistryConnectionError as error:
            self._unreachable_until_ns[parsed.domain] = self._clock() + UNREACHABLE_SECONDS * SECOND
            log.warning("pulling %s failed, the image on this host is used: %s", reference, error.message)
        except CoveyError as error:
            log.warning("pulling %s failed, the image on this host is used: %s", reference, error.message)
        else:
            self._unreachable_until_ns.pop(parsed.domain, None)

    async def _acquire(self, reference: str, credentials: Credentials) -> None:
        async def pull() -> None:
            if image_reference.is_image_id(reference):
                raise NotFoundError(f"{_ABSENT}{reference}")
            await self._pull(reference, credentials)

        try:
            await self._sharing.acquire(reference, pull)
        except CoveyError as error:
            if error.message.startswith(_ABSENT):
                raise
            raise NotFoundError(f"{_ABSENT}{reference}: {error.message}") from error

    async def _pull(self, reference: str, credentials: Credentials, *, answer_seconds: float | None = None) -> None:
        """Pull an image. With `answer_seconds` the registry must answer with the manifest within this time."""
        with self._registries.pull(reference, credentials=credentials) as job:
            async with aclosing(aiter(job)) as progress:
                try:
                    async with asyncio.timeout(answer_seconds):
                        await anext(progress, None)
                except TimeoutError:
                    raise RegistryConnectionError(f"the registry did not answer within {answer_seconds:g} s") from None
            await job.result()
