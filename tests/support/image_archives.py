"""Small images for tests: layers as tars, and archives as `docker save` writes them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import msgspec


class TestImage(msgspec.Struct, frozen=True):
    """An image: its layers' tars, its config, and its id."""

    __test__ = False

    layers: tuple[bytes, ...]
    config: bytes

    @property
    def id(self) -> str:
        return digest(self.config)

    def archive(self, tags: Sequence[str]) -> bytes:
        """The archive of `docker save`."""
        names = [f"{number}.tar" for number in range(len(self.layers))]
        manifest = [{"Config": "config.json", "RepoTags": list(tags), "Layers": names}]
        entries = dict(zip(names, self.layers, strict=True))
        return tar({**entries, "config.json": self.config, "manifest.json": json.dumps(manifest).encode()})


def image(
    *files: dict[str, bytes] | bytes, architecture: str = "amd64", system: str = "linux", **config: object
) -> TestImage:
    """An image with one layer for each dict of files, or tar."""
    layers = tuple(content if isinstance(content, bytes) else tar(content) for content in files)
    document = {
        "architecture": architecture,
        "os": system,
        "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["/bin/true"], **config},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
        "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
    }
    return TestImage(layers, json.dumps(document).encode())


def tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def compressed(layer: bytes) -> bytes:
    return gzip.compress(layer, 6, mtime=0)


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def write_archive(path: Path, made: TestImage, *tags: str) -> Path:
    path.write_bytes(made.archive(tags))
    return path
