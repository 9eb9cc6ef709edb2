"""Environment variables from flags and environment files. Unlike the other parsers it reads files and the process environment."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

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


def parse_env_file(text: str, environment: Mapping[str, str], *, keep_bare: bool = False) -> dict[str, str | None]:
    """The variables of an environment file. A name without a value takes its value from ``environment``, or is left out; ``keep_bare``
    keeps it, as in files of labels.

    Raises:
        InvalidArgumentError: a line without a name.
    """
    result: dict[str, str | None] = {}
    for line in text.removeprefix("\ufeff").splitlines():
        line = line.lstrip()  # noqa: PLW2901
        if not line or line.startswith("#"):
            continue
        key, separator, value = line.partition("=")
        if not key or any(character.isspace() for character in key.rstrip()):
            raise InvalidArgumentError(f"invalid line in an environment file: {line!r}; write KEY=VALUE")
        if separator:
            result[key] = value
        elif key.strip() in environment:
            result[key.strip()] = environment[key.strip()]
        elif keep_bare:
            result[key.strip()] = None
    return result
