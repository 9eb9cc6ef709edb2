"""Content store: the files of the image store, staged in a temporary folder and moved into place complete.

    blobs/sha256/HEX   layers and configs as they came, verified
    layers/NUMBER      unpacked layers
    tmp/NAME           files of one operation; removed at the next start

Called by `agent.image.store`. Every method may block on the disk and is called in a thread.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from agent.image.digests import digest_of
from agent.image.metadata import NewImage, NewLayer, StoredLayer
from agent.image.unpack_protocol import UnpackMessage


class ContentStore:
    """The folder of one store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layers = root / "layers"
        self._blobs = root / "blobs" / "sha256"
        self._tmp = root / "tmp"

    def prepare(self) -> None:
        """Make the folders and throw away what an earlier life left half-done."""
        if self._tmp.exists():
            shutil.rmtree(self._tmp)
        for folder in (self.root, self._blobs.parent, self._blobs, self.layers, self._tmp):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def blob(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")

    def layer(self, directory: int) -> Path:
        return self.layers / str(directory)

    def stage(self) -> Path:
        """A new empty folder for one operation."""
        path = self._tmp / secrets.token_hex(8)
        path.mkdir(mode=0o700)
        return path

    def put(self, data: bytes) -> str:
        """Store a small blob; its digest."""
        digest = digest_of(data)
        staged = self.stage()
        path = staged / "blob"
        with path.open("xb") as target:
            target.write(data)
            target.flush()
            os.fsync(target.fileno())
        path.replace(self.blob(digest))
        staged.rmdir()
        return digest

    def commit(
        self, answer: UnpackMessage, known: Collection[str], first_directory: int
    ) -> tuple[tuple[NewLayer, ...], tuple[NewImage, ...]]:
        """Move what was staged into place; the rows that will make it count. A crash before that leaves files to sweep."""
        for digest, staged in answer.blobs.items():
            if not self.blob(digest).exists():
                Path(staged).replace(self.blob(digest))
        layers: dict[str, NewLayer] = {}
        for work in (work for image in answer.images for work in image.layers):
            if work.chain_id in known or work.chain_id in layers:
                continue
            number = first_directory + len(layers)
            target = self.layer(number)
            if target.exists():
                self.discard([target])
            Path(work.unpacked).rename(target)
            layers[work.chain_id] = NewLayer(number, work.chain_id, work.diff_id, work.content_bytes)
        images = tuple(
            NewImage(image.config, tuple(StoredLayer(work.chain_id, work.digest) for work in image.layers), image.tags)
            for image in answer.images
        )
        return tuple(layers.values()), images

    def sweep(self, digests: Collection[str], directories: Collection[int]) -> None:
        """Delete the blobs and unpacked layers that are not among those given."""
        names = {digest.removeprefix("sha256:") for digest in digests}
        numbers = {str(number) for number in directories}
        doomed = [path for path in self._blobs.iterdir() if path.name not in names]
        doomed += [path for path in self.layers.iterdir() if path.name not in numbers]
        self.discard(doomed)

    def discard(self, paths: Sequence[Path]) -> None:
        """Delete files and folders: first out of the way in one step each, then for good."""
        for path in paths:
            target = self._tmp / f"gone-{secrets.token_hex(8)}"
            with contextlib.suppress(FileNotFoundError):
                path.rename(target)
                if target.is_dir() and not target.is_symlink():
                    shutil.rmtree(target)
                else:
                    target.unlink()

    def read_verified(self, digest: str) -> bytes | None:
        """A small blob, or None where it is missing or has another content."""
        try:
            data = self.blob(digest).read_bytes()
        except FileNotFoundError:
            return None
        return data if hashlib.sha256(data).hexdigest() == digest.removeprefix("sha256:") else None

    def read_configs(self, digests: Collection[str], say: Callable[[str], None]) -> Mapping[str, bytes]:
        """The configs of images; those that are damaged are left out and told of."""
        configs = {}
        for digest in digests:
            data = self.read_verified(digest)
            if data is None:
                say(f"the config of the image {digest} is missing or damaged; load the image again")
            else:
                configs[digest] = data
        return configs
