"""Reads the files of a stack from disk, each within a size limit."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from compose.env_files import parse_env_file
from compose.errors import ComposeFileError
from compose.nodes import Node, plain
from compose.project.files import STANDARD_INPUT, ProjectFiles
from compose.stack.canonical import CanonicalStack, StackPaths
from compose.stack.loader import LoadedStack, load_stack
from compose.text_files import read_bytes, read_text
from covey.errors import InvalidArgumentError, TooLargeError

MAX_OBJECT_BYTES = 1 << 21


class FileSource(msgspec.Struct, frozen=True):
    """Files below a directory.

    Attributes:
        directory: where relative paths begin: that of the first Compose file.
        variables: the client's environment.
        root: the directory that files must be in; None for any.
    """

    directory: Path
    variables: Mapping[str, str]
    root: Path | None = None

    def environment_file(self, node: Node) -> Mapping[str, str | None]:
        """The variables of an ``env_file`` entry.

        Raises:
            ComposeFileError: it cannot be read or is not an environment file; with the place of the entry.
        """
        path = self.directory / Path(str(plain(node))).expanduser()
        try:
            return parse_env_file(read_text(path, self.root), self.variables)
        except OSError as error:
            raise ComposeFileError(f"open {path}: {(error.strerror or '').lower()}", location=node.location) from error
        except InvalidArgumentError as error:
            raise ComposeFileError(f"{path}: {error.message}", location=node.location) from error
        except TooLargeError as error:
            raise ComposeFileError(error.message, location=node.location) from error


def load_stack_files(
    paths: Sequence[str],
    variables: Mapping[str, str],
    files: ProjectFiles | None = None,
    *,
    interpolated: bool = True,
) -> LoadedStack:
    """The canonical stack of Compose files; ``files`` reads them. Variables that the client has not set are those of a ``.env`` beside
    the first file, as in a Compose project; ``docker stack`` reads no such file.

    Raises:
        InvalidArgumentError: a file cannot be read or is not a stack file, with path and place.
    """
    directory = working_directory(paths)
    files = files or ProjectFiles()
    variables = {**files.dotenv(str(directory), (), variables), **variables}
    source = FileSource(directory, variables, files.root)
    canonical = CanonicalStack(StackPaths(str(directory), str(Path.home())), variables, source.environment_file)
    documents = [files.documents(path) for path in paths]
    stack = load_stack([first for first, *_ in documents], variables, canonical, interpolated=interpolated)
    return msgspec.structs.replace(stack, unread=tuple(node.location for _, *others in documents for node in others))


def read_object_file(path: str, root: Path | None = None) -> bytes:
    """The content of a secret or config, whose file must be below ``root`` if that is given.

    Raises:
        InvalidArgumentError: it cannot be read, or is outside.
        TooLargeError: larger than 2 MiB.
    """
    try:
        return read_bytes(Path(path), MAX_OBJECT_BYTES, root)
    except OSError as error:
        raise InvalidArgumentError(f"open {path}: {(error.strerror or '').lower()}") from error


def working_directory(paths: Sequence[str]) -> Path:
    """The directory of the first file; the current one for standard input."""
    return Path.cwd() if paths[0] == STANDARD_INPUT else Path(paths[0]).absolute().parent
