"""A stack's files from a Git repository: one commit, fetched into a temporary directory.

Invariant: nothing of the repository is executed, no submodule is followed, and no file outside it is read. Fetching has a deadline and a
size limit.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from cli.stack.loader import load_stack
from compose.project.files import DEFAULT_NAMES
from compose.stack.labels import STACK_COMMIT_LABEL, STACK_REPOSITORY_LABEL
from compose.stack.model import Stack, StackFile
from covey.errors import DeadlineError, InvalidArgumentError, NotFoundError, TooLargeError
from covey.git_source import RepositorySource, git_environment, git_failure, require_inside

FETCH_SECONDS = 120.0
MAX_BYTES = 256 << 20
POLL_SECONDS = 0.05
MEASURE_SECONDS = 0.5


class LoadedStack(msgspec.Struct, frozen=True):
    """The stack that files of a commit describe."""

    stack: Stack
    commit: str


class Checkout(msgspec.Struct, frozen=True):
    """A commit on disk, with the Compose files of the stack."""

    root: Path
    files: tuple[Path, ...]
    commit: str


@contextmanager
def checkout(source: RepositorySource, names: Sequence[str] = ()) -> Iterator[Checkout]:
    """The files of a repository in a directory that is removed at the end. ``names`` are Compose files below the source's path.

    Raises:
        CoveyError: the repository cannot be fetched, is too large or takes too long, or does not have the file.
    """
    with tempfile.TemporaryDirectory(prefix="covey-stack-") as directory:
        root = Path(directory).resolve() / "repository"
        deadline = time.monotonic() + FETCH_SECONDS
        git = _Git(root, source, deadline)
        git.run("init", "--quiet", "--template=", str(root))
        ref = source.ref or "HEAD"
        git.run(
            "-C",
            str(root),
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--no-recurse-submodules",
            "--",
            source.shown,
            ref,
        )
        git.run("-C", str(root), "checkout", "--quiet", "--detach", "FETCH_HEAD")
        commit = git.run("-C", str(root), "rev-parse", "HEAD").strip()
        yield Checkout(root, _compose_files(root, source, names), commit)


def load_from_repository(
    name: str, source: RepositorySource, files: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> LoadedStack:
    """The stack that files of a repository describe, labelled with its commit.

    Raises:
        CoveyError: the repository cannot be fetched, or its files cannot be read as a stack.
    """
    with checkout(source, files) as found:
        paths = tuple(str(path) for path in found.files)
        described = load_stack(name, paths, environment, root=found.root)
        return LoadedStack(with_origin(described, source, found.commit, found.root), found.commit)


def with_origin(stack: Stack, source: RepositorySource, commit: str, root: Path) -> Stack:
    """The stack with labels that name its repository and commit.

    Networks have none, because they do not change after they are created.

    Raises:
        InvalidArgumentError: a service mounts a directory of the repository, which no node has.
    """
    for service in stack.services:
        for mount in service.spec["TaskTemplate"]["ContainerSpec"].get("Mounts") or ():
            if mount.get("Type") == "bind" and Path(mount["Source"]).is_relative_to(root):
                inside = Path(mount["Source"]).relative_to(root)
                raise InvalidArgumentError(
                    f"service {service.key} mounts ./{inside} of the repository, which the nodes do not have: use a config or a volume"
                )
    origin = {STACK_REPOSITORY_LABEL: source.shown, STACK_COMMIT_LABEL: commit}

    def labelled(file: StackFile) -> StackFile:
        return file if file.external else msgspec.structs.replace(file, labels={**file.labels, **origin})

    services = (
        msgspec.structs.replace(item, spec={**item.spec, "Labels": {**item.spec.get("Labels", {}), **origin}})
        for item in stack.services
    )
    return msgspec.structs.replace(
        stack,
        services=tuple(services),
        secrets=tuple(labelled(file) for file in stack.secrets),
        configs=tuple(labelled(file) for file in stack.configs),
    )


def _compose_files(root: Path, source: RepositorySource, names: Sequence[str]) -> tuple[Path, ...]:
    path = root / source.path
    for name in names:
        require_inside(name)
    if names:
        return tuple(_existing(root, source, (path / name,)) for name in names)
    is_folder = path.is_dir() and path.resolve().is_relative_to(root)
    return (_existing(root, source, tuple(path / name for name in DEFAULT_NAMES) if is_folder else (path,)),)


def _existing(root: Path, source: RepositorySource, wanted: Sequence[Path]) -> Path:
    """The first of these files that exists."""
    for path in wanted:
        if not path.resolve().is_relative_to(root):
            raise InvalidArgumentError(f"path {str(path.relative_to(root))!r} is outside the repository")
    found = next((path for path in wanted if path.is_file()), None)
    if found is None:
        names = " or ".join(path.name if len(wanted) > 1 else str(path.relative_to(root)) for path in wanted)
        raise NotFoundError(
            f"the repository {source.shown} has no {names}: name the file after the ref, as URL#REF:PATH"
        )
    return found


class _Git:
    """Runs git on one repository until a deadline."""

    def __init__(self, root: Path, source: RepositorySource, deadline: float) -> None:
        self._root = root
        self._source = source
        self._deadline = deadline

    def run(self, *arguments: str) -> str:
        command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "submodule.recurse=false", *arguments]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=git_environment(self._source, os.environ),
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                raise NotFoundError("git is not installed: install it, or give files with --compose-file") from error
            try:
                self._wait(process)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            out.seek(0)
            err.seek(0)
            if process.returncode:
                raise git_failure(self._source, err.read(1 << 16).decode(errors="replace"))
            return out.read(1 << 16).decode(errors="replace")

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        measure_at = time.monotonic() + MEASURE_SECONDS
        while True:
            try:
                process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                now = time.monotonic()
                if now > self._deadline:
                    reason = f"the repository {self._source.shown} was not fetched within {FETCH_SECONDS:.0f} s"
                    raise DeadlineError(reason) from None
                if now < measure_at:
                    continue
                measure_at = now + MEASURE_SECONDS
                self._require_size()
            else:
                self._require_size()
                return

    def _require_size(self) -> None:
        if _bytes_below(self._root) > MAX_BYTES:
            raise TooLargeError(f"the repository {self._source.shown} is larger than {MAX_BYTES >> 20} MiB")


def _bytes_below(root: Path) -> int:
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                total += os.lstat(f"{folder}/{name}").st_size
            except FileNotFoundError:
                continue  # git renames its temporary files
    return total
