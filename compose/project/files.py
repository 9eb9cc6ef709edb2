"""The files of a project on disk: Compose files, ``.env``, environment and label files. The project's only file access."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from compose.dotenv import parse_dotenv
from compose.env_files import parse_env_file
from compose.errors import ComposeFileError
from compose.nodes import MappingNode, Node, plain
from compose.project.model import ProjectOptions
from compose.text_files import read_stdin, read_text
from compose.yaml_reader import read_documents
from covey.errors import InvalidArgumentError, NotFoundError, TooLargeError

DEFAULT_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDE_NAMES = (
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
STANDARD_INPUT = "-"


class ProjectFiles:
    """Reads relative to the working directory ``directory``, or the process's one; only below ``root`` if that is given."""

    def __init__(self, directory: Path | None = None, root: Path | None = None) -> None:
        self._directory = directory or Path.cwd()
        self.root = root
        self._documents: dict[str, tuple[MappingNode, ...]] = {}

    def compose_files(self, options: ProjectOptions) -> list[str]:
        """The absolute paths of the Compose files: given, of COMPOSE_FILE, or found in this directory or the nearest one above.

        Raises:
            NotFoundError: none is given and none is found.
        """
        variables = options.environment
        separator = variables.get("COMPOSE_PATH_SEPARATOR", ":")
        given = options.files or tuple(filter(None, variables.get("COMPOSE_FILE", "").split(separator)))
        if given:
            return [path if path == STANDARD_INPUT else str(self._directory / path) for path in given]
        start = Path(options.directory) if options.directory else self._directory
        for folder in (start, *start.parents):
            found = [folder / name for name in DEFAULT_NAMES if (folder / name).is_file()]
            if found:
                overrides = [folder / name for name in OVERRIDE_NAMES if (folder / name).is_file()]
                return [str(path) for path in (found[0], *overrides[:1])]
        raise NotFoundError("no configuration file provided: not found")

    def variables(self, options: ProjectOptions, directory: str) -> dict[str, str]:
        """The project's variables: of ``.env`` files, overridden by the client's environment."""
        listed = options.env_files or tuple(filter(None, options.environment.get("COMPOSE_ENV_FILES", "").split(",")))
        given = [str(self._directory / path) for path in listed]
        return {**self.dotenv(directory, given, options.environment), **options.environment}

    def dotenv(self, directory: str, given: Sequence[str], variables: Mapping[str, str]) -> dict[str, str]:
        """The variables of the given files, or of ``.env`` in a directory if it is there."""
        paths = [Path(path) for path in given]
        if not given:
            default = Path(directory) / ".env"
            paths = [default] if default.is_file() else []
        result: dict[str, str] = {}
        for path in paths:
            try:
                parsed = parse_dotenv(read_text(path, self.root), {**result, **variables}, str(path))
            except FileNotFoundError as error:
                raise InvalidArgumentError(f"couldn't find env file: {path}") from error
            except OSError as error:
                raise InvalidArgumentError(f"open {path}: {(error.strerror or '').lower()}") from error
            result |= {key: value for key, value in parsed.items() if value is not None}
        return result

    def documents(self, path: str) -> tuple[MappingNode, ...]:
        """The documents of a Compose file, at least one. Each file is read once.

        Raises:
            InvalidArgumentError: it cannot be read.
            ComposeFileError: it is not a Compose file.
        """
        if path not in self._documents:
            self._documents[path] = self._read(path)
        return self._documents[path]

    def _read(self, path: str) -> tuple[MappingNode, ...]:
        if path == STANDARD_INPUT:
            return read_documents(read_stdin(), "stdin")
        try:
            return read_documents(read_text(Path(path), self.root), path)
        except OSError as error:
            raise InvalidArgumentError(f"open {path}: {(error.strerror or '').lower()}") from error

    def environment_file(self, node: Node, variables: Mapping[str, str]) -> Mapping[str, str | None]:
        """The variables of an ``env_file`` entry; none if it is not required and not there.

        Raises:
            ComposeFileError: it cannot be read or parsed, with the place of the entry.
        """
        entry = plain(node)
        path = Path(entry["path"])
        try:
            text = read_text(path, self.root)
            if entry.get("format") == "raw":
                return parse_env_file(text, variables)
            return parse_dotenv(text, variables, str(path))
        except OSError as error:
            if not entry.get("required", True) and isinstance(error, FileNotFoundError):
                return {}
            reason = f"env file {path} not found: {(error.strerror or '').lower()}"
            raise ComposeFileError(reason, location=node.location) from error
        except (InvalidArgumentError, TooLargeError) as error:
            raise ComposeFileError(error.message, location=node.location) from error

    def label_file(self, node: Node) -> Mapping[str, str | None]:
        """The labels of a file.

        Raises:
            ComposeFileError: it cannot be read or parsed, with the place of the entry.
        """
        path = Path(str(plain(node)))
        try:
            return parse_dotenv(read_text(path, self.root), {}, str(path))
        except OSError as error:
            reason = f"label file {path} not found: {(error.strerror or '').lower()}"
            raise ComposeFileError(reason, location=node.location) from error
        except (InvalidArgumentError, TooLargeError) as error:
            raise ComposeFileError(error.message, location=node.location) from error
