"""Loads Compose files and the files that they name from disk. The other modules of this package are pure."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cli.stack.interpolate import interpolate
from cli.stack.manifest import read_stack
from cli.stack.merge import merge
from cli.stack.yaml_loader import MAX_BYTES, load_yaml
from compose.errors import ComposeFileError
from compose.nodes import plain
from compose.sources import load_stack_files, read_object_file
from compose.stack.ignored import ignored_notice
from compose.stack.model import Stack
from compose.stack.service_spec import stack_objects
from covey.errors import InvalidArgumentError, UnsupportedError

MAX_FILE_BYTES = 1 << 21


def load_manifest(
    paths: Sequence[str], environment: Mapping[str, str], *, interpolated: bool = True
) -> tuple[dict[str, Any], Path]:
    """The merged files, and the directory to which their paths are relative: that of the first file.

    Raises:
        InvalidArgumentError: a file cannot be read or is not a Compose file.
    """
    manifests = []
    for path in paths:
        content = load_yaml(_text(path), "stdin" if path == "-" else path)
        manifests.append(interpolate(content, environment) if interpolated else content)
    folder = Path.cwd() if paths[0] == "-" else Path(paths[0]).absolute().parent
    return merge(manifests), folder


def load_stack(name: str, paths: Sequence[str], environment: Mapping[str, str] = os.environ) -> Stack:
    """The stack that Compose files describe, read as docker does. Files of a newer format are read by their own rules.

    Raises:
        InvalidArgumentError: the files are of neither format; the message is that of docker's format.
    """
    try:
        loaded = load_stack_files(paths, environment)
    except ComposeFileError as refused:
        try:
            return _newer_stack(name, paths, environment)
        except (InvalidArgumentError, UnsupportedError):
            raise refused from None
    services = loaded.content.get("services")
    if notice := ignored_notice(plain(services) if services else {}):
        click.echo(notice, err=True)
    return stack_objects(name, loaded.content, read_object_file)


def _newer_stack(name: str, paths: Sequence[str], environment: Mapping[str, str]) -> Stack:
    content, folder = load_manifest(paths, environment)
    return convert_manifest(name, content, folder, environment)


def convert_manifest(
    name: str, content: Mapping[str, Any], folder: Path, environment: Mapping[str, str] = os.environ
) -> Stack:
    """The stack that a merged Compose file describes; relative paths start at ``folder``."""

    def read_file(path: str, where: str) -> bytes:
        try:
            with (folder / Path(path).expanduser()).open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise InvalidArgumentError(f"{where}: cannot read {path}: {error.strerror}") from error
        if len(data) > MAX_FILE_BYTES:
            raise InvalidArgumentError(f"{where}: {path} is larger than {MAX_FILE_BYTES >> 20} MiB")
        return data

    return read_stack(name, content, environment, read_file, str(folder))


def _text(path: str) -> str:
    try:
        if path == "-":
            return sys.stdin.read(MAX_BYTES + 1)
        with Path(path).open(encoding="utf-8") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidArgumentError(f"cannot read the Compose file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"the Compose file {path} is not UTF-8 text") from error
