"""Loads the stack that Compose files describe: in docker's format, or else by the Compose Specification."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from cli.stack.check import findings, unread_documents
from compose.errors import ComposeFileError, Location
from compose.nodes import MappingNode, plain
from compose.project.files import ProjectFiles
from compose.project.model import ProjectOptions
from compose.project.output import project_yaml
from compose.sources import load_stack_files, read_object_file
from compose.stack.ignored import ignored_nested, ignored_notice
from compose.stack.model import Stack
from compose.stack.newer_format import stack_of_project
from compose.stack.output import stack_yaml
from compose.stack.service_spec import stack_objects


def load_stack(
    name: str, paths: Sequence[str], environment: Mapping[str, str] = os.environ, root: Path | None = None
) -> Stack:
    """The stack of Compose files. Keys without a meaning on a cluster are named in one notice on standard error.

    With ``root`` only files below that directory are read.

    Raises:
        InvalidArgumentError: the files are of neither format, with path and place.
    """
    described, content, unread = _stack_content(name, paths, environment, ProjectFiles(root=root))
    services = content.get("services")
    if notice := ignored_notice(plain(services) if services else {}):
        click.echo(notice, err=True)
    if nested := [path for path, _ in ignored_nested(described) if path != "name"]:
        click.echo(f"Ignoring keys without a meaning on a cluster: {', '.join(nested)}", err=True)
    for line in unread_documents(unread):
        click.echo(line, err=True)
    return stack_objects(name, content, lambda path: read_object_file(path, root))


def check_stack(name: str, paths: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """What a cluster does not honour in Compose files, with places.

    Raises:
        InvalidArgumentError: the stack cannot be deployed, with path and place.
    """
    described, content, unread = _stack_content(name, paths, environment, ProjectFiles())
    stack_objects(name, content, read_object_file)
    return [*findings(content, described), *unread_documents(unread)]


def _stack_content(
    name: str, paths: Sequence[str], environment: Mapping[str, str], files: ProjectFiles
) -> tuple[MappingNode, MappingNode, tuple[Location, ...]]:
    """The canonical files, the canonical stack, and the places of documents that are not read.

    What docker's format refuses is read by the Compose Specification.
    """
    try:
        stack = load_stack_files(paths, environment, files)
    except ComposeFileError as refused:
        described = _newer_content(name, paths, environment, files, refused)
        return described, stack_of_project(described, environment), ()
    return stack.content, stack.content, stack.unread


def stack_config(paths: Sequence[str], environment: Mapping[str, str], *, interpolated: bool) -> str:
    """The merged files as docker prints them; files of the newer format as Docker Compose prints them.

    Raises:
        InvalidArgumentError: the files are of neither format, with path and place.
    """
    files = ProjectFiles()
    try:
        stack = load_stack_files(paths, environment, files, interpolated=interpolated)
    except ComposeFileError as refused:
        return project_yaml(_newer_content("", paths, environment, files, refused, interpolated=interpolated))
    return stack_yaml(stack.content, stack.version)


def _newer_content(
    name: str,
    paths: Sequence[str],
    environment: Mapping[str, str],
    files: ProjectFiles,
    refused: ComposeFileError,
    *,
    interpolated: bool = True,
) -> MappingNode:
    """The project that files describe which docker's format refused."""
    from compose.project.loader import load_content

    options = ProjectOptions(files=tuple(paths), environment=environment, interpolated=interpolated)
    try:
        return load_content(options, name, files)[0]
    except ComposeFileError as error:
        raise (error if _is_newer(refused) else refused) from None


def _is_newer(refused: ComposeFileError) -> bool:
    """Whether docker's format refused a key that it does not know: the file is of the newer format then."""
    return "Additional property" in refused.reason or "unsupported options" in refused.reason
