"""Records of builds that succeeded: a build with the same request and context, on the same images, has the same result without a step.

A build with everything in its cache costs buildah more than a second, because it mounts each layer. A record is a file
`build/records/KEY`, and is deleted by a prune of the build cache.
"""

import hashlib
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from agent.build.dockerfile import Instruction
from agent.build.model import BuildRequest

RECORD_LIMIT = 500


class BuildRecord(msgspec.Struct, frozen=True):
    """A build that succeeded."""

    image_id: str
    bases: Mapping[str, str]
    """The ids of the images that the Dockerfile names."""
    log: tuple[str, ...]
    """The build's log when every step comes from the cache."""


def record_key(request: BuildRequest, context_digest: str) -> str:
    """The name of a build's record. What does not change the result is not part of it: tags, credentials, and the content of secrets."""
    told = msgspec.structs.replace(
        request, tags=(), no_cache=False, pull=False, credentials={}, secrets=dict.fromkeys(request.secrets, b"")
    )
    return hashlib.sha256(msgspec.json.encode((told, context_digest), order="sorted")).hexdigest()


def is_repeatable(instructions: Sequence[Instruction], triggers: Sequence[str]) -> bool:
    """Whether the result follows from the context and the images: no ADD may fetch a URL. `triggers` are those of ONBUILD."""
    additions = [each.arguments for each in instructions if each.keyword == "ADD"]
    additions += [text for text in triggers if text.lstrip().upper().startswith("ADD")]
    return not any("://" in text or "$" in text or "git@" in text for text in additions)


class BuildRecords:
    """The records in a folder. All calls block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: str) -> BuildRecord | None:
        """The record of a key, which then counts as the newest."""
        path = self._folder / key
        try:
            record = msgspec.json.decode(path.read_bytes(), type=BuildRecord)
            os.utime(path)
        except (OSError, msgspec.MsgspecError):
            return None
        return record

    def save(self, key: str, record: BuildRecord) -> None:
        """Keep a record; those that were not used for the longest time are deleted beyond `RECORD_LIMIT`."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        written = self._folder / f".{secrets.token_hex(8)}"
        written.write_bytes(msgspec.json.encode(record))
        written.replace(self._folder / key)
        known = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in known[RECORD_LIMIT:]:
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete all records."""
        shutil.rmtree(self._folder, ignore_errors=True)
