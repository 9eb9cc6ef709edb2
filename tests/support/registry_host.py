"""A host with nothing but an image store and its registries, for tests of pulls."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.image.model import PulledImage
from agent.image.registry.auth_config import ANONYMOUS, Credentials
from agent.image.registry.service import RegistryService
from agent.image.store import ImageStore
from covey.errors import CoveyError

DEADLINE_SECONDS = 30


class RegistryHost:
    """A host with nothing but an image store and its registries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "images"
        self.store = ImageStore(folder)
        self.registries = RegistryService(self.store.repository)

    async def pull(
        self, name: str, credentials: Credentials = ANONYMOUS, platform: str = ""
    ) -> tuple[PulledImage, ...]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            with self.registries.pull(name, credentials=credentials, platform=platform) as job:
                return await job.result()

    def files(self) -> list[str]:
        """Every file of the store but its database."""
        return [
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and "images.db" not in path.name
        ]

    async def is_refused(self, name: str, words: str, error: type[CoveyError] = CoveyError) -> None:
        with pytest.raises(error) as caught:
            await self.pull(name)
        assert words in caught.value.message
        assert self.store.list() == ()
        assert self.files() == []
