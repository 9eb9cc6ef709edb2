"""Reads `registries.toml` from the disk. What the file means is in `registries_config`."""

from pathlib import Path

from agent.image.registry.registries_config import RegistriesConfig, parse_config
from covey.errors import InvalidArgumentError

DEFAULT_PATH = Path("/etc/covey/registries.toml")
FILE_LIMIT_BYTES = 1 << 20


def read_config(path: Path) -> RegistriesConfig:
    """The configuration in a file. Only the default file may be missing. Raises InvalidArgumentError that names it."""
    try:
        with path.open("rb") as opened:
            data = opened.read(FILE_LIMIT_BYTES + 1)
        if len(data) > FILE_LIMIT_BYTES:
            raise InvalidArgumentError(f"{path} is larger than {FILE_LIMIT_BYTES} bytes")
        return parse_config(data.decode(), str(path))
    except FileNotFoundError:
        if path == DEFAULT_PATH:
            return RegistriesConfig()
        raise InvalidArgumentError(f"the registries file {path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"the registries file {path} cannot be read: {error}") from None
