"""Reads the files that flags of ``run`` and ``create`` name, and the surroundings of the command."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.container.create_body import Surroundings
from cli.parse.environment import environment_variables
from compose.env_files import parse_env_file
from covey.errors import InvalidArgumentError

BUILT_IN_PROFILES = ("unconfined", "builtin", "default")


def surroundings(
    flags: Mapping[str, Any], host: str, proxies: Mapping[str, str], environment: Mapping[str, str] = os.environ
) -> Surroundings:
    """What the flags refer to outside of the command line. ``proxies`` are variables that apply unless ``--env`` gives others.

    Raises:
        InvalidArgumentError: a file cannot be read, or a seccomp profile is not JSON.
    """
    given = {item.partition("=")[0] for item in flags["env"]}
    return Surroundings(
        directory=str(Path.cwd()),
        environment=(
            *(f"{name}={value}" for name, value in proxies.items() if name not in given),
            *environment_variables((), flags["env_file"], environment),
        ),
        labels=_labels(flags["label_file"]),
        profiles=_profiles(flags["security_opt"]),
        api_socket=host.removeprefix("unix://") if host.startswith("unix://") else "",
        terminal_size=terminal_size(),
    )


def terminal_size() -> tuple[int, int]:
    """Lines and columns of the terminal on stdout, zeros without one."""
    if not sys.stdout.isatty():
        return 0, 0
    size = os.get_terminal_size(sys.stdout.fileno())
    return size.lines, size.columns


def environment_flags(items: tuple[str, ...], environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """``--env`` with values from the environment. A variable that has none stays without a value: it unsets the image's."""
    return tuple(f"{item}={environment[item]}" if "=" not in item and item in environment else item for item in items)


def _labels(files: tuple[str, ...]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for file in files:
        for key, value in parse_env_file(_read(file), {}, keep_bare=True).items():
            labels[key] = value or ""
    return labels


def _profiles(options: tuple[str, ...]) -> dict[str, str]:
    """The content of seccomp profiles by the name of their file, as compact JSON."""
    profiles = {}
    for text in options:
        name, separator, value = text.partition("=")
        if not separator:
            name, _, value = text.partition(":")
        if name != "seccomp" or value in BUILT_IN_PROFILES:
            continue
        try:
            profile = json.loads(_read(value))
        except ValueError as error:
            raise InvalidArgumentError(f"compacting json for seccomp profile ({value}) failed: {error}") from error
        profiles[value] = json.dumps(profile, separators=(",", ":"), ensure_ascii=False)
    return profiles


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidArgumentError(f"cannot read {file}: {reason}") from error
