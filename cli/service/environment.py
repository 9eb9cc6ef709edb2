"""Environment variables from flags and files; the one place among the flags that reads files and our own environment."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from covey.errors import InvalidArgumentError


def environment_variables(
    items: Sequence[str], files: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> list[str]:
    """``KEY=VALUE`` each; a name alone takes our own value, and is left out when there is none. Files come first.

    Raises:
        InvalidArgumentError: a file that cannot be read, or an entry without a name.
    """
    from cli.stack.manifest import parse_env_file

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
