"""Environment variables from flags and environment files. Unlike the other parsers it reads files and the process environment."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from compose.env_files import parse_env_file
from covey.errors import InvalidArgumentError


def environment_variables(
    items: Sequence[str], files: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> list[str]:
    """A list of ``KEY=VALUE``, variables from files first. A name without a value takes its value from ``environment``, or is left out.

    Raises:
        InvalidArgumentError: a file that cannot be read, or an entry without a name.
    """
    result = []
    for file in files:
        try:
            lines = parse_env_file(Path(file).read_text(encoding="utf-8"), environment)
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidArgumentError(f"cannot read the environment file {file}: {error}") from error
        result += [f"{key}={value or ''}" for key, value in lines.items()]
    for item in items:
        key, separator, _ = item.partition("=")
        if not key:
            raise InvalidArgumentError(f"invalid environment variable: {item}")
        if separator:
            result.append(item)
        elif key in environment:
            result.append(f"{key}={environment[key]}")
    return result
