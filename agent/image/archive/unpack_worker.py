"""The image unpack process: `python -m agent.image.archive.unpack_worker REQUEST` reads an archive on stdin and stages its content.

It is a process of its own, because unpacking and hashing would block the daemon's event loop and grpc forbids forking.

Invariant: it writes only below the staging directory of the request. The store moves the results into place.

Started by `agent.image.archive.unpack_process`.
"""

import posixpath
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from agent.image.archive.manifest import ArchivedImage, StagedMember, plan
from agent.image.archive.unpack_protocol import UnpackMessage, UnpackRequest
from agent.image.content.bounded_tar import clean_path, members, open_tar
from agent.image.content.digests import chain_ids
from agent.image.content.layer_unpacker import LayerUnpacker
from agent.image.content.linux_syscalls import keep_large_buffers, sync_filesystem
from agent.image.content.staged import StagedImage, StagedLayer
from agent.image.content.streams import CHUNK_BYTES, HashingReader, Readable, copy_stream, open_stream
from agent.image.model import decode_config
from covey import image_platform
from covey.errors import CoveyError, InvalidArgumentError, NotFoundError, TooLargeError
from covey.image_platform import ImagePlatform

REPORT_BYTES = 4 << 20
_LAYER_COMPRESSIONS = frozenset({"", "gzip", "zstd"})


class _ArchiveUnpacker:
    """Serves one request: stages the archive's members, then unpacks each layer once."""

    def __init__(self, request: UnpackRequest, output: BinaryIO) -> None:
        self._request = request
        self._limits = request.limits
        self._staging = Path(request.staging)
        self._output = output
        self._unpacked: dict[str, StagedLayer] = {}
        self._directories = dict(request.layers)
        self._reported = 0

    def run(self, source: BinaryIO) -> UnpackMessage:
        reader = HashingReader(source, self._limits.archive_bytes, "the archive", self._report_bytes)
        if self._request.mode == "import":
            return self._import(reader)
        return self._load(reader)

    def _load(self, reader: HashingReader) -> UnpackMessage:
        plain, _ = open_stream(reader, "the archive")
        staged = self._stage(plain)
        reader.drain()
        images = []
        blobs: dict[str, str] = {}
        wanted = image_platform.parse_platform(self._request.platform)
        chosen = wanted or image_platform.host_platform()
        for archived in plan(staged, self._read, chosen, prefer_index=wanted is not None):
            images.append(self._unpack_image(archived))
            blobs[archived.config.digest] = archived.config.path
            blobs.update({layer.digest: layer.path for layer in archived.layers})
        return UnpackMessage(done=True, images=tuple(images), blobs=blobs)

    def _stage(self, plain: Readable) -> dict[str, StagedMember]:
        """Stage every file of the outer tar under a number, so that no name of it reaches the file system."""
        staged: dict[str, StagedMember] = {}
        try:
            with open_tar(plain) as archive:
                for number, member in enumerate(members(archive, self._limits.archive_entries, "the archive")):
                    name = "/".join(clean_path(member.name, "the archive"))
                    if member.issym():
                        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
                        staged[name] = StagedMember(link=target)
                    elif member.islnk():
                        staged[name] = StagedMember(link=member.linkname)
                    elif member.isreg():
                        staged[name] = self._stage_file(archive, member, self._staging / f"m{number}")
        except tarfile.TarError as error:
            raise InvalidArgumentError(f"the archive is not a complete tar archive: {error}") from error
        return staged

    def _stage_file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> StagedMember:
        content = archive.extractfile(member)
        if content is None:
            raise InvalidArgumentError(f"the archive's entry {member.name!r} has no content")
        reader = HashingReader(
            cast("Readable", content), self._limits.layer_bytes, f"the archive's entry {member.name!r}"
        )
        with path.open("xb") as target:
            copy_stream(reader, cast("BinaryIO", target))
        return StagedMember(str(path), reader.digest, reader.count)

    def _read(self, member: StagedMember) -> bytes:
        if member.size > self._limits.document_bytes:
            raise TooLargeError(
                f"a JSON document of {member.size} bytes exceeds the limit of {self._limits.document_bytes}"
            )
        return Path(member.path).read_bytes()

    def _unpack_image(self, archived: ArchivedImage) -> StagedImage:
        name = archived.tags[0] if archived.tags else archived.config.digest
        raw = decode_config(self._read(archived.config), archived.config.digest)
        if raw.os not in {"linux", ""}:
            raise InvalidArgumentError(f"the image {name} is for {raw.os}, but this host runs linux")
        wanted = image_platform.parse_platform(self._request.platform)
        actual = ImagePlatform(raw.architecture, raw.os or "linux", raw.variant)
        if wanted is not None and not image_platform.matches(wanted, actual):
            raise NotFoundError(
                f"image {name} was found but does not provide the specified platform ({image_platform.describe(wanted)})"
            )
        if len(raw.diff_ids) != len(archived.layers):
            raise InvalidArgumentError(
                f"the image {name} names {len(raw.diff_ids)} diff ids but has {len(archived.layers)} layers"
            )
        layers: list[StagedLayer] = []
        for member, diff_id, chain_id in zip(archived.layers, raw.diff_ids, chain_ids(raw.diff_ids), strict=True):
            lowers = [Path(self._directories[layer.chain_id]) for layer in reversed(layers)]
            layers.append(self._unpack_layer(member, diff_id, chain_id, lowers))
        return StagedImage(archived.config.digest, tuple(layers), archived.tags)

    def _unpack_layer(self, member: StagedMember, diff_id: str, chain_id: str, lowers: Sequence[Path]) -> StagedLayer:
        if chain_id in self._unpacked:
            return self._unpacked[chain_id]
        if chain_id in self._directories:
            self._verify_known_layer(member, diff_id)
            self._send(UnpackMessage(step="exists", id=diff_id))
            layer = StagedLayer(member.digest, diff_id, chain_id)
        else:
            target = self._staging / f"l{len(self._unpacked)}"
            with Path(member.path).open("rb", buffering=0) as blob:
                content_bytes = self._unpack(cast("Readable", blob), member.size, target, lowers, diff_id)
            self._directories[chain_id] = str(target)
            layer = StagedLayer(member.digest, diff_id, chain_id, content_bytes, str(target))
        self._unpacked[chain_id] = layer
        return layer

    def _verify_known_layer(self, member: StagedMember, diff_id: str) -> None:
        """The layer is unpacked already. Its blob must match the config all the same."""
        if member.digest == diff_id:
            return
        with Path(member.path).open("rb", buffering=0) as blob:
            plain, _ = open_stream(cast("Readable", blob), f"the layer {diff_id}")
            reader = HashingReader(plain, self._limits.layer_bytes, f"the layer {diff_id}")
            reader.drain()
        _verify(reader.digest, diff_id)

    def _unpack(self, blob: Readable, blob_bytes: int, target: Path, lowers: Sequence[Path], diff_id: str) -> int:
        what = f"the layer {diff_id}"
        plain, compression = open_stream(blob, what)
        if compression not in _LAYER_COMPRESSIONS:
            raise InvalidArgumentError(
                f"{what} is compressed with {compression}; layers must be uncompressed, gzip or zstd"
            )
        report = self._layer_reporter(diff_id, 0 if compression else blob_bytes)
        reader = HashingReader(plain, self._limits.layer_bytes, what, report)
        target.mkdir(mode=0o755)
        unpacker = LayerUnpacker(target, lowers, what)
        unpacker.unpack(reader)
        reader.drain()
        _verify(reader.digest, diff_id)
        return unpacker.content_bytes

    def _import(self, source: HashingReader) -> UnpackMessage:
        """Import a root file system. It is stored uncompressed, so that its digest is its diff id, and unpacked on the way."""
        what = "the root file system"
        plain, _ = open_stream(source, what)
        path, target = self._staging / "m0", self._staging / "l0"
        target.mkdir(mode=0o755)
        with path.open("xb") as blob:
            reader = HashingReader(_Tee(plain, cast("BinaryIO", blob)), self._limits.layer_bytes, what)
            unpacker = LayerUnpacker(target, (), what)
            unpacker.unpack(reader)
            reader.drain()
        digest = reader.digest
        exists = digest in self._request.layers
        layer = StagedLayer(digest, digest, digest, unpacker.content_bytes, "" if exists else str(target))
        return UnpackMessage(done=True, images=(StagedImage("", (layer,)),), blobs={digest: str(path)})

    def _layer_reporter(self, diff_id: str, total: int) -> Callable[[int], None]:
        """Reports how much of a layer's tar was read: at its start, after each `REPORT_BYTES`, and at its end if that is known."""
        reported = -REPORT_BYTES

        def report(count: int) -> None:
            nonlocal reported
            if count - reported >= REPORT_BYTES or count == total:
                reported = count
                self._send(UnpackMessage(step="unpack", id=diff_id, current=count, total=total))

        return report

    def _report_bytes(self, count: int) -> None:
        if count - self._reported >= REPORT_BYTES:
            self._reported = count
            self._send(UnpackMessage(step="read", current=count))

    def _send(self, message: UnpackMessage) -> None:
        self._output.write(msgspec.json.encode(message) + b"\n")
        self._output.flush()


class _Tee:
    """Writes everything that is read through it to a file."""

    def __init__(self, source: Readable, target: BinaryIO) -> None:
        self._source = source
        self._target = target

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size if size >= 0 else CHUNK_BYTES)
        if data:
            self._target.write(data)
        return data


def _verify(digest: str, diff_id: str) -> None:
    if digest != diff_id:
        raise InvalidArgumentError(
            f"the layer {diff_id} does not match its digest, it is {digest}: the archive is damaged"
        )


def _failure(error: Exception) -> UnpackMessage:
    kind = type(error).__name__ if isinstance(error, CoveyError) else "CoveyError"
    text = str(error) if isinstance(error, CoveyError) else f"unpacking failed: {type(error).__name__}: {error}"
    return UnpackMessage(error=text, error_kind=kind)


def main(arguments: Sequence[str]) -> int:
    """Serve one request. Returns 0 when it succeeded, 1 when an error was reported."""
    keep_large_buffers()
    request = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=UnpackRequest)
    output = sys.stdout.buffer
    try:
        with open(0, "rb", buffering=0, closefd=False) as source:
            answer = _ArchiveUnpacker(request, output).run(cast("BinaryIO", source))
        sync_filesystem(Path(request.staging))
    except Exception as error:  # the boundary of the process: every error is reported as a message
        answer = _failure(error)
    output.write(msgspec.json.encode(answer) + b"\n")
    output.flush()
    return 1 if answer.error else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
