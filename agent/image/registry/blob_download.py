"""Download of one blob to a file: verified while it streams, bounded by its announced size, resumed after a broken connection.

Invariant: at most one buffer of `BUFFER_BYTES` and the transport's own are in memory.
Invariant: `on_written` is only told of bytes that are in the file. A blob is complete only if size and digest match.
"""

import asyncio
import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import BinaryIO

import aiohttp

from agent.image.content.descriptor import Descriptor
from agent.image.registry.errors import (
    RegistryConnectionError,
    RegistryContentError,
    RegistryStatusError,
)

BUFFER_BYTES = 1 << 20
LEAST_BYTES_PER_SECOND = 10_000
LEAST_SECONDS = 600
BACKOFF_SECONDS = 0.5
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


OpenBlob = Callable[[str, int], AbstractAsyncContextManager[aiohttp.ClientResponse]]
"""A blob's content by digest and offset, if the registry can (206), else from its start (200)."""


class BlobDownload(ABC):
    """One download. `on_written` gets the number of bytes in the file, `on_retry` the seconds until the next attempt."""

    def __init__(
        self, blob: Descriptor, path: Path, on_written: Callable[[int], None], on_retry: Callable[[int], None]
    ) -> None:
        self._blob = blob
        self._path = path
        self._on_written = on_written
        self._on_retry = on_retry
        self._hash = hashlib.sha256()
        self._written = 0

    async def run(self, attempts: Callable[[], int]) -> None:
        """Download and verify. Raises RegistryError; after a broken connection it goes on, at most `attempts` times in a row."""
        with await asyncio.to_thread(self._path.open, "wb", 0) as target:
            attempt = 0
            while True:
                before = self._written
                try:
                    await self._attempt(target)
                    break
                except (RegistryConnectionError, RegistryStatusError) as error:
                    if isinstance(error, RegistryStatusError) and error.status < 500 and error.status != 429:
                        raise
                    attempt = 1 if self._written > before else attempt + 1
                    if attempt >= attempts():
                        raise
                seconds = BACKOFF_SECONDS * 2**attempt
                self._on_retry(max(round(seconds), 1))
                await asyncio.sleep(seconds)
        if f"sha256:{self._hash.hexdigest()}" != self._blob.digest:
            raise RegistryContentError(f"filesystem layer verification failed for digest {self._blob.digest}")

    async def _attempt(self, target: BinaryIO) -> None:
        """Append to the file until the end of the blob. RegistryConnectionError if the stream ends before it."""
        if self._written == self._blob.size:
            return
        remaining = self._blob.size - self._written
        try:
            async with asyncio.timeout(LEAST_SECONDS + remaining / LEAST_BYTES_PER_SECOND):
                await self._receive(target)
        except TimeoutError:
            raise RegistryConnectionError(f"the download of {self._blob.digest} is too slow") from None
        if self._written < self._blob.size:
            raise RegistryConnectionError(
                f"the registry sent {self._written} of {self._blob.size} bytes of {self._blob.digest}: unexpected EOF"
            )

    @abstractmethod
    async def _receive(self, target: BinaryIO) -> None:
        """Append the blob from `_written` on to the file. Raises RegistryConnectionError if the connection breaks."""

    def _write(self, target: BinaryIO, data: bytes | memoryview) -> None:
        """Write and hash the next bytes. Blocks. RegistryContentError if they are too many."""
        view = memoryview(data)
        size = len(view)
        if self._written + size > self._blob.size:
            raise RegistryContentError(
                f"the blob {self._blob.digest} is longer than the {self._blob.size} bytes announced"
            )
        self._hash.update(view)
        while view:
            view = view[target.write(view) :]
        self._written += size


class RegistryBlobDownload(BlobDownload):
    """A download from a registry, by HTTP in the event loop."""

    def __init__(
        self,
        open_blob: OpenBlob,
        blob: Descriptor,
        path: Path,
        on_written: Callable[[int], None],
        on_retry: Callable[[int], None],
    ) -> None:
        super().__init__(blob, path, on_written, on_retry)
        self._open_blob = open_blob

    async def _receive(self, target: BinaryIO) -> None:
        async with self._open_blob(self._blob.digest, self._written) as response:
            await self._copy(response, target, self._bytes_to_skip(response))

    async def _copy(self, response: aiohttp.ClientResponse, target: BinaryIO, skip: int) -> None:
        buffer, size = [], 0
        try:
            async for received in response.content.iter_any():
                chunk = received[skip:] if skip else received
                skip -= len(received) - len(chunk)
                buffer.append(chunk)
                size += len(chunk)
                if size >= BUFFER_BYTES or self._written + size > self._blob.size:
                    await self._flush(target, buffer)
                    buffer, size = [], 0
        finally:
            if size:
                await self._flush(target, buffer)

    async def _flush(self, target: BinaryIO, buffer: list[bytes]) -> None:
        await asyncio.to_thread(self._write, target, b"".join(buffer))
        self._on_written(self._written)

    def _bytes_to_skip(self, response: aiohttp.ClientResponse) -> int:
        """How many bytes of the response are in the file already. Raises RegistryContentError if the lengths disagree."""
        length, remaining = response.content_length, self._blob.size - self._written
        if response.status == 206:
            found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if found is None or int(found[1]) != self._written or length not in {None, remaining}:
                raise RegistryContentError(
                    f"the registry answered a range of {self._blob.digest} that was not asked for"
                )
            return 0
        if length is not None and length != self._blob.size:
            raise RegistryContentError(
                f"the blob {self._blob.digest} has {length} bytes, but its manifest announces {self._blob.size}"
            )
        return self._written
