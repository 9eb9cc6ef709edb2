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

from agent.image.content.digests import digest_of
from agent.image.content.metadata import LayerRow, NewImage, StoredLayer
from agent.image.content.staged import StagedContent


class ContentStore:
    """The folder of one image store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layers = root / "layers"
        self._blobs = root / "blobs" / "sha256"
        self._tmp = root / "tmp"

    def prepare(self) -> None:
        """Create the folders and delete the temporary files of an earlier process."""
        if self._tmp.exists():
            shutil.rmtree(self._tmp)
        for folder in (self.root, self._blobs.parent, self._blobs, self.layers, self._tmp):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def blob(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")

    def layer(self, directory: int) -> Path:
        return self.layers / str(directory)

    def stage(self) -> Path:
        """Create an empty folder for one operation."""
        path = self._tmp / secrets.token_hex(8)
        path.mkdir(mode=0o700)
        return path

    def put(self, data: bytes) -> str:
        """Store a small blob. Returns its digest."""
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
        self, result: StagedContent, known: Collection[str], first_directory: int
    ) -> tuple[tuple[LayerRow, ...], tuple[NewImage, ...]]:
        """Move staged files into place. Returns the rows to add to the metadata.

        A crash before they are added leaves files that the next `sweep` deletes. `known` are the chain ids that are unpacked.
        """
        for digest, path in result.blobs.items():
            if not self.blob(digest).exists():
                Path(path).replace(self.blob(digest))
        layers: dict[str, LayerRow] = {}
        for staged in (staged for image in result.images for staged in image.layers):
            if staged.chain_id in known or staged.chain_id in layers:
                continue
            number = first_directory + len(layers)
            target = self.layer(number)
            if target.exists():
                self.discard([target])
            Path(staged.unpacked).rename(target)
            layers[staged.chain_id] = LayerRow(number, staged.chain_id, staged.diff_id, staged.content_bytes)
        images = tuple(
            NewImage(
                image.config,
                tuple(StoredLayer(layer.chain_id, layer.digest) for layer in image.layers),
                image.tags,
                image.parent,
            )
            for image in result.images
        )
        return tuple(layers.values()), images

    def sweep(self, digests: Collection[str], directories: Collection[int]) -> None:
        """Delete all blobs and unpacked layers but the given ones."""
        names = {digest.removeprefix("sha256:") for digest in digests}
        numbers = {str(number) for number in directories}
        unused = [path for path in self._blobs.iterdir() if path.name not in names]
        unused += [path for path in self.layers.iterdir() if path.name not in numbers]
        self.discard(unused)

    def discard(self, paths: Sequence[Path]) -> None:
        """Delete files and folders. Each is renamed first, so that it disappears in one step."""
        for path in paths:
            target = self._tmp / f"deleted-{secrets.token_hex(8)}"
            with contextlib.suppress(FileNotFoundError):
                path.rename(target)
                if target.is_dir() and not target.is_symlink():
                    shutil.rmtree(target)
                else:
                    target.unlink()

    def read_verified(self, digest: str) -> bytes | None:
        """A small blob, or None when it is missing or does not match its digest."""
        try:
            data = self.blob(digest).read_bytes()
        except FileNotFoundError:
            return None
        return data if hashlib.sha256(data).hexdigest() == digest.removeprefix("sha256:") else None

    def read_configs(self, digests: Collection[str], warn: Callable[[str], None]) -> Mapping[str, bytes]:
        """The configs of images. Damaged ones are left out and reported to `warn`."""
        configs = {}
        for digest in digests:
            data = self.read_verified(digest)
            if data is None:
                warn(f"the config of image {digest} is missing or damaged; load the image again")
            else:
                configs[digest] = data
        return configs
