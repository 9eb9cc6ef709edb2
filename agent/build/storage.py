"""buildah's own storage on this host: its folders and configuration, the images in it, and the layers of the build cache.

build/storage   layers and images of buildah, kept across builds: the build cache
build/mounts    directories of `RUN --mount=type=cache`
build/records   builds that succeeded, to answer the same ones at once
build/home      configuration of buildah's libraries, so that the host's own has no effect
build/tmp/NAME  files of one build; deleted at its end and at the next start
"""

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from agent.build.model import CacheRecord

PATH_VARIABLE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_POLICY = b'{"default": [{"type": "insecureAcceptAnything"}]}\n'
_REGISTRIES = b"unqualified-search-registries = []\n"

T = TypeVar("T")


class _StoredImage(msgspec.Struct):
    id: str
    layer: str = ""
    created: datetime = datetime.fromtimestamp(0, UTC)


class _StoredLayer(msgspec.Struct, rename="kebab"):
    id: str
    parent: str = ""
    created: str = ""
    diff_size: int = 0


class BuildStorage:
    """The folder of one daemon's builds."""

    def __init__(self, root: Path, run_dir: Path) -> None:
        self.root = root
        self.tmp = root / "tmp"
        self.records_folder = root / "records"
        self._storage = root / "storage"
        self._mounts = root / "mounts"
        self._home = root / "home"
        self._run = run_dir / "build"

    def prepare(self) -> None:
        """Create the folders and delete what builds of an earlier process left. Blocks."""
        shutil.rmtree(self.tmp, ignore_errors=True)
        configuration = self._home / ".config" / "containers"
        for folder in (self.root, self.tmp, self._storage, self._mounts, configuration, self._run):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (configuration / "policy.json").write_bytes(_POLICY)
        (self._home / "registries.conf").write_bytes(_REGISTRIES)
        (self._home / "containers.conf").write_bytes(b"")
        (self._home / "storage.conf").write_bytes(b'[storage]\ndriver = "overlay"\n')

    def make_folder(self, name: str) -> Path:
        """An empty folder for one build. buildah finds the cache mounts of all builds below its temporary directory. Blocks."""
        folder = self.tmp / name
        folder.mkdir(mode=0o700)
        (folder / "buildah-cache").symlink_to(self._mounts)
        return folder

    def remove_cache_mounts(self) -> None:
        """Delete the content of all cache mounts. Blocks."""
        shutil.rmtree(self._mounts, ignore_errors=True)
        self._mounts.mkdir(mode=0o700, exist_ok=True)

    def environment(self, tmp: Path) -> dict[str, str]:
        """The whole environment of buildah."""
        return {
            "PATH": PATH_VARIABLE,
            "HOME": str(self._home),
            "TMPDIR": str(tmp),
            "CONTAINERS_CONF": str(self._home / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self._home / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self._home / "registries.conf"),
        }

    @property
    def options(self) -> tuple[str, ...]:
        """Options of every call of buildah."""
        return ("--root", str(self._storage), "--runroot", str(self._run), "--storage-driver", "overlay")

    def image_ids(self) -> frozenset[str]:
        """The images in the storage, without `sha256:`. Blocks."""
        return frozenset(image.id for image in self._read("overlay-images/images.json", _StoredImage))

    def images_before(self, time_ns: int) -> tuple[str, ...]:
        """The images that were made before a time, newest first, so that none is removed before those that are based on it. Blocks."""
        images: Sequence[_StoredImage] = self._read("overlay-images/images.json", _StoredImage)
        limit = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
        old = sorted(((image.created, image.id) for image in images if image.created < limit), reverse=True)
        return tuple(image_id for _, image_id in old)

    def records(self) -> tuple[CacheRecord, ...]:
        """The layers of the cache, oldest first. Blocks."""
        layers: Sequence[_StoredLayer] = self._read("overlay-layers/layers.json", _StoredLayer)
        tops = {image.layer: image.id for image in self._read("overlay-images/images.json", _StoredImage)}
        descriptions: Mapping[str, str] = {layer: f"image {image[:12]}" for layer, image in tops.items()}
        return tuple(
            CacheRecord(
                id=layer.id,
                parent=layer.parent,
                created=layer.created,
                size_bytes=max(layer.diff_size, 0),
                description=descriptions.get(layer.id, ""),
            )
            for layer in sorted(layers, key=lambda each: (each.created, each.id))
        )

    def _read(self, name: str, kind: type[T]) -> list[T]:
        """One of the storage's indexes; empty before the first build."""
        try:
            return msgspec.json.decode((self._storage / name).read_bytes(), type=list[kind])  # type: ignore[valid-type]  # a type at run time
        except FileNotFoundError:
            return []
