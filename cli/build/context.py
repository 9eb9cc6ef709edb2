"""Packs the context of a build as a tar stream, piece by piece, with bounded memory."""

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cli.build.ignore import IgnorePatterns
from cli.tar_content import file_content
from covey.errors import InvalidArgumentError

IGNORE_FILE = ".dockerignore"
OUTSIDE_NAME = ".dockerfile.covey"
"""Name in the context of a Dockerfile that is not in the folder."""


class ContextPlan(msgspec.Struct, frozen=True):
    """A folder to pack, the Dockerfile's name in the archive, and the Dockerfile's text if it is not in the folder."""

    folder: Path
    dockerfile: str
    text: bytes | None
    patterns: IgnorePatterns


def plan_context(folder: str, dockerfile: str, stdin: bytes | None = None) -> ContextPlan:
    """The context of a folder. ``stdin`` is the Dockerfile that was read from there. Raises InvalidArgumentError."""
    top = Path(folder)
    if not top.is_dir():
        raise InvalidArgumentError(f"unable to prepare context: path {folder!r} not found")
    path = Path(dockerfile) if dockerfile else top / "Dockerfile"
    name, text = OUTSIDE_NAME, stdin
    if stdin is None:
        try:
            resolved, root = path.resolve(strict=True), top.resolve()
            name = resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else OUTSIDE_NAME
            text = None if name != OUTSIDE_NAME else resolved.read_bytes()
        except OSError as error:
            raise InvalidArgumentError(
                f"unable to prepare context: unable to evaluate the Dockerfile {path}: {error.strerror}"
            ) from None
    return ContextPlan(top, name, text, IgnorePatterns(ignore_lines(top, name)))


def pack(plan: ContextPlan) -> Iterator[bytes]:
    """The tar stream. The Dockerfile and ``.dockerignore`` are always in it. Owners are root, as in Docker."""
    kept = {plan.dockerfile, IGNORE_FILE}
    with tarfile.TarFile(fileobj=io.BytesIO(), mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, name in _walk(plan, kept):
            try:
                found = path.lstat()
                if stat.S_ISSOCK(found.st_mode):  # no archive holds one
                    continue
                entry = archive.gettarinfo(path, arcname=name)
            except OSError as error:
                raise InvalidArgumentError(f"cannot read {path}: {error.strerror}") from error
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = int(
                entry.mtime
            )  # as Docker does; a fraction would be a header of its own, which counts as content
            yield entry.tobuf(tarfile.PAX_FORMAT)
            if entry.isreg():
                yield from file_content(path, entry.size)
    if plan.text is not None:
        entry = tarfile.TarInfo(plan.dockerfile)
        entry.size = len(plan.text)
        yield entry.tobuf(tarfile.PAX_FORMAT) + plan.text + bytes(-len(plan.text) % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def single_file(name: str, data: bytes) -> bytes:
    """The tar of a context that has a Dockerfile and nothing else."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    padding = bytes(-len(data) % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)
    return entry.tobuf(tarfile.PAX_FORMAT) + data + padding


def is_archive(head: bytes) -> bool:
    """Whether a stream that begins so is a tar, compressed or not, and no Dockerfile."""
    return head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")) or head[257:262] == b"ustar"


def ignore_lines(top: Path, dockerfile: str) -> list[str]:
    """The lines of the ignore file of a Dockerfile, or of the folder; none without one."""
    for name in (f"{dockerfile}{IGNORE_FILE}", IGNORE_FILE):
        try:
            return (top / name).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InvalidArgumentError(f"cannot read {top / name}: {error.strerror}") from error
    return []


def _walk(plan: ContextPlan, kept: set[str]) -> Iterator[tuple[Path, str]]:
    """Files with their names in the archive, a directory before what is in it."""
    folders_of_kept = {"/".join(name.split("/")[:end]) for name in kept for end in range(1, name.count("/") + 1)}
    pending = [""]
    while pending:
        name = pending.pop()
        path = plan.folder / name
        is_folder = path.is_dir() and (not name or not path.is_symlink())
        excluded = bool(name) and name not in kept and plan.patterns.excludes(name)
        if name and not excluded:
            yield path, name
        if is_folder and (not excluded or plan.patterns.has_exceptions or name in folders_of_kept):
            try:
                inside = sorted(os.listdir(path), reverse=True)  # noqa: PTH208 - names are wanted
            except OSError as error:
                raise InvalidArgumentError(f"cannot read {path}: {error.strerror}") from error
            pending += [f"{name}/{each}" if name else each for each in inside]
