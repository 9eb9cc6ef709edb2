"""Files of a project for its containers: secrets and configs copied into them, seccomp profiles."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from cli.client import DaemonClient
from cli.compose.host_config import seccomp_paths
from cli.compose.model import Application, Values
from cli.compose.mounts import CopiedFile
from covey.errors import InvalidArgumentError


def copy_files(daemon: DaemonClient, container: str, files: Iterable[CopiedFile]) -> None:
    """Copy files into a container that has not started yet."""
    for file in files:
        query = {"path": "/", "noOverwriteDirNonDir": "true"}
        with daemon.open("PUT", f"/containers/{container}/archive", query, stream=[_archive(file)]):
            pass


def _archive(file: CopiedFile) -> bytes:
    out = io.BytesIO()
    content = file.content.encode()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(file.path.lstrip("/"))
        info.size, info.mode, info.uid, info.gid = len(content), file.mode, file.uid, file.gid
        archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def seccomp_contents(application: Application, service: Values) -> dict[str, str]:
    """The contents of the seccomp profiles that a service names by path.

    Raises:
        InvalidArgumentError: one cannot be read.
    """
    from compose.text_files import read_text

    result = {}
    for text in seccomp_paths(service):
        path = Path(application.directory, text)
        try:
            result[text] = read_text(path)
        except OSError as error:
            raise InvalidArgumentError(f"opening seccomp profile ({path}) failed: {error.strerror}") from error
    return result
