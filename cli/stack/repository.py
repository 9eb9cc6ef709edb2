"""A stack's files from a Git repository: one commit, fetched into a temporary directory.

Invariant: nothing of the repository is executed, no submodule is followed, and no file outside it is read. Fetching has a deadline and a
size limit.
"""

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from compose.project.files import DEFAULT_NAMES
from compose.stack.labels import STACK_COMMIT_LABEL, STACK_REPOSITORY_LABEL
from compose.stack.model import Stack, StackFile
from covey.errors import CoveyError, DeadlineError, InvalidArgumentError, NotFoundError, TooLargeError

FETCH_SECONDS = 120.0
MAX_BYTES = 256 << 20
POLL_SECONDS = 0.05
MEASURE_SECONDS = 0.5
_SAFE_PROTOCOLS = ("https", "ssh")
_NAMED_PROTOCOLS = ("http", "git", "file")
"""Protocols without encryption, or of local directories: allowed if the URL names them; never after a redirection."""
_SCP = re.compile(r"[\w.-]+@[\w.-]+:[^:].*")
_REF = re.compile(r"[A-Za-z0-9_.][\w./+@-]*")


class RepositorySource(msgspec.Struct, frozen=True):
    """Where a stack's file is. ``ref`` is a branch, a tag or a commit; empty for the default branch."""

    url: str
    protocol: str
    ref: str = ""
    path: str = ""

    @property
    def shown(self) -> str:
        """The URL without credentials."""
        return re.sub(r"(?<=//)[^/@]*@", "", self.url)


class Checkout(msgspec.Struct, frozen=True):
    """A commit on disk."""

    root: Path
    file: Path
    commit: str


def parse_source(text: str) -> RepositorySource:
    """The source that ``URL#ref:path`` names.

    Raises:
        InvalidArgumentError: not a URL of a protocol that is allowed, or not a ref or path.
    """
    url, _, fragment = text.partition("#")
    ref, _, path = fragment.partition(":")
    scheme = url.partition("://")[0] if "://" in url else "ssh" if _SCP.fullmatch(url) else ""
    if scheme not in (*_SAFE_PROTOCOLS, *_NAMED_PROTOCOLS) or any(ord(char) <= ord(" ") for char in text):
        raise InvalidArgumentError(f"{text!r} is not the URL of a repository: use https://, ssh://, git:// or file://")
    if ref and (not _REF.fullmatch(ref) or ".." in ref):
        raise InvalidArgumentError(f"{ref!r} is not a branch, tag or commit")
    if path.startswith("/") or ".." in path.split("/"):
        raise InvalidArgumentError(f"path {path!r} is outside the repository")
    return RepositorySource(url, scheme, ref, path)


@contextmanager
def checkout(source: RepositorySource) -> Iterator[Checkout]:
    """The files of a repository in a directory that is removed at the end.

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
            source.url,
            ref,
        )
        git.run("-C", str(root), "checkout", "--quiet", "--detach", "FETCH_HEAD")
        commit = git.run("-C", str(root), "rev-parse", "HEAD").strip()
        yield Checkout(root, _compose_file(root, source), commit)


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


def _compose_file(root: Path, source: RepositorySource) -> Path:
    path = root / source.path
    if not path.resolve().is_relative_to(root):
        raise InvalidArgumentError(f"path {source.path!r} is outside the repository")
    names = DEFAULT_NAMES if path.is_dir() else ("",)
    found = next((path / name for name in names if (path / name).is_file()), None)
    if found is None:
        wanted = source.path if names == ("",) else " or ".join(names)
        raise NotFoundError(
            f"the repository {source.shown} has no {wanted}: name the file after the ref, as URL#REF:PATH"
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
                    env=self._environment(),
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
                raise _failed(self._source, err.read(1 << 16).decode(errors="replace"))
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

    def _environment(self) -> Mapping[str, str]:
        own = {
            key: value for key, value in os.environ.items() if key not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
        }
        protocols = sorted({*_SAFE_PROTOCOLS, self._source.protocol})
        return {
            "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
            **own,
            "GIT_ALLOW_PROTOCOL": ":".join(protocols),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "SSH_ASKPASS": "/bin/false",
            "LC_ALL": "C",
        }


def _failed(source: RepositorySource, said: str) -> CoveyError:
    lines: Sequence[str] = [line for line in said.replace(source.url, source.shown).splitlines() if line.strip()]
    reason = next(
        (line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "git failed"
    )
    return InvalidArgumentError(f"the repository {source.shown} cannot be fetched: {reason}")


def _bytes_below(root: Path) -> int:
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                total += os.lstat(f"{folder}/{name}").st_size
            except FileNotFoundError:
                continue  # git renames its temporary files
    return total
