"""Configuration file of coveyd: reads the TOML and matches its keys to the option table.

Invariant: an unknown key is refused by its name, and no option may stand in both the file and on the command line, as in Docker.
"""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from covey.errors import CoveyError, InvalidArgumentError
from node.option_table import FIXED, OPTIONS

DEFAULT_FILE = Path("/etc/covey/coveyd.toml")
MAX_BYTES = 1 << 20


def read_file(file: Path | None) -> tuple[Path, str]:
    """The file's path and its text. Without a path it is the default file, which may be missing.

    Raises:
        InvalidArgumentError: the file cannot be read, or is too large.
    """
    path = file or DEFAULT_FILE
    try:
        with path.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise InvalidArgumentError(prefix(path) + f"it is larger than {MAX_BYTES} bytes")
        return path, data.decode()
    except FileNotFoundError:
        if file is None:
            return path, ""
        raise InvalidArgumentError(prefix(path) + "open: no such file or directory") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(prefix(path) + str(error)) from None


def file_values(path: Path, text: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The file's values by field, converted. ``flags`` are the fields that the command line sets.

    Raises:
        InvalidArgumentError: the file is no TOML, has unknown keys or wrong values, or sets what a flag sets.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgumentError(prefix(path) + str(error)) from None
    options = {option.file_key: option for option in (*OPTIONS, *FIXED)}
    if unknown := sorted(set(table) - set(options)):
        raise InvalidArgumentError(
            prefix(path) + f"the following directives don't match any configuration option: {', '.join(unknown)}"
        )
    conflicts = [
        f"{key}: (from flag: {_shown(flags[options[key].field])}, from file: {_shown(table[key])})"
        for key in table
        if options[key].field in flags
    ]
    if conflicts:
        raise InvalidArgumentError(
            prefix(path)
            + "the following directives are specified both as a flag and in the configuration file: "
            + ", ".join(conflicts)
        )
    result = {}
    for key, value in table.items():
        try:
            converted = options[key].convert(key, value)
        except CoveyError as error:
            raise InvalidArgumentError(prefix(path) + error.message) from None
        if options[key].field:
            result[options[key].field] = converted
    require_choices(result, path)
    return result


def require_choices(found: Mapping[str, Any], path: Path | None = None) -> None:
    """Refuse a value that its option does not offer."""
    for option in OPTIONS:
        value = found.get(option.field)
        if option.choices and value is not None and value not in option.choices:
            name = option.file_key if path else f"--{option.flag}"
            where = prefix(path) if path else ""
            raise InvalidArgumentError(f"{where}{name}: {value!r} is not valid: use one of {', '.join(option.choices)}")


def prefix(path: Path) -> str:
    """How an error about the file begins."""
    return f"unable to configure the daemon with file {path}: "


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        value = [f"{key}={item}" for key, item in value.items()]
    if isinstance(value, Collection) and not isinstance(value, str):
        return f"[{' '.join(str(item) for item in value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
