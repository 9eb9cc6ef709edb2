"""Upload of one blob: not at all if the registry has it, by a mount from another repository, or by sending its bytes.

A broken upload goes on where the registry says that it stands.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from urllib.parse import urlencode

import aiohttp

from agent.image.content.descriptor import Descriptor
from agent.image.registry.client import REQUEST_SECONDS, RepositoryClient
from agent.image.registry.errors import RegistryConnectionError, RegistryError, RegistryStatusError

CHUNK_BYTES = 1 << 20
ATTEMPTS = 5
BACKOFF_SECONDS = 0.5
MOUNT_LIMIT = 4
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


class BlobUpload:
    """One blob for one repository. `on_sent` gets the number of bytes that the transport took."""

    def __init__(self, repository: RepositoryClient, blob: Descriptor, on_sent: Callable[[int], None]) -> None:
        self._connection = repository.connection
        self._blob = blob
        self._on_sent = on_sent

    async def exists(self) -> bool:
        """Whether the repository has the blob."""
        url = self._connection.url(f"blobs/{self._blob.digest}")
        async with asyncio.timeout(REQUEST_SECONDS):
            async with self._connection.request("HEAD", url, expect=(200, 404)) as response:
                return response.status == 200

    async def mount(self, sources: Sequence[str]) -> str:
        """Mount the blob from another repository of the registry. Returns that repository, "" if none has it."""
        for source in sources[:MOUNT_LIMIT]:
            query = urlencode({"mount": self._blob.digest, "from": source})
            scopes = (*self._connection.scopes, f"repository:{source}:pull")
            try:
                async with (
                    asyncio.timeout(REQUEST_SECONDS),
                    self._connection.request(
                        "POST", self._connection.url(f"blobs/uploads/?{query}"), expect=(201, 202), scopes=scopes
                    ) as response,
                ):
                    if response.status == 201:
                        return source
                    await self._cancel(self._connection.location(response))
            except RegistryStatusError:
                continue  # the registry does not mount, or the user may not read that repository
        return ""

    async def send(self, path: Path) -> None:
        """Send the blob's bytes. Raises RegistryError; after a broken connection it goes on, at most `ATTEMPTS` times."""
        location, offset = await self._start(), 0
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if offset < self._blob.size:
                    location = await self._patch(location, path, offset)
                await self._finish(location)
            except (RegistryConnectionError, RegistryStatusError) as error:
                temporary = isinstance(error, RegistryConnectionError) or error.status >= 500 or error.status == 429
                if attempt == ATTEMPTS or not temporary:
                    raise
            else:
                return
            await asyncio.sleep(BACKOFF_SECONDS * 2**attempt)
            location, offset = await self._resume(location)

    async def _start(self) -> str:
        url = self._connection.url("blobs/uploads/")
        async with asyncio.timeout(REQUEST_SECONDS):
            async with self._connection.request("POST", url, expect=(202,)) as response:
                return self._connection.location(response)

    async def _patch(self, location: str, path: Path, offset: int) -> str:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(self._blob.size - offset),
            **({"Content-Range": f"{offset}-{self._blob.size - 1}"} if offset else {}),
        }
        body = _chunks(path, offset, self._on_sent)
        async with self._connection.request(
            "PATCH", location, headers=headers, body=body, expect=(202, 204)
        ) as response:
            return self._connection.location(response)

    async def _finish(self, location: str) -> None:
        separator = "&" if "?" in location else "?"
        url = f"{location}{separator}{urlencode({'digest': self._blob.digest})}"
        async with asyncio.timeout(REQUEST_SECONDS):
            async with self._connection.request("PUT", url, expect=(201, 204)):
                return

    async def _resume(self, location: str) -> tuple[str, int]:
        """Where a broken upload stands. A new one if the registry has forgotten it."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                async with self._connection.request("GET", location, expect=(204,)) as response:
                    return self._connection.location(response), _received(response, self._blob.size)
        except RegistryError:
            return await self._start(), 0

    async def _cancel(self, location: str) -> None:
        try:
            async with self._connection.request("DELETE", location, expect=(200, 202, 204)):
                return
        except RegistryError:
            return  # the registry drops abandoned uploads by itself


def _received(response: aiohttp.ClientResponse, limit: int) -> int:
    found = _RANGE.fullmatch(response.headers.get("Range", ""))
    return min(int(found[1]) + 1, limit) if found and found[1] != "0" else 0


async def _chunks(path: Path, offset: int, on_sent: Callable[[int], None]) -> AsyncIterator[bytes]:
    opened = await asyncio.to_thread(path.open, "rb", 0)
    try:
        opened.seek(offset)
        while chunk := await asyncio.to_thread(opened.read, CHUNK_BYTES):
            yield chunk
            offset += len(chunk)
            on_sent(offset)
    finally:
        opened.close()
