"""A Compose project: what its files describe, in canonical form."""

from collections.abc import Mapping
from typing import Any

import msgspec

from compose.nodes import MappingNode

Values = Mapping[str, Any]


class ProjectOptions(msgspec.Struct, frozen=True):
    """Which project to load.

    Attributes:
        files: Compose files; empty means to look for the default names in the working directory and above it.
        environment: the client's environment.
        name: the project's name; empty means that of the files, of COMPOSE_PROJECT_NAME or of the directory.
        directory: the project directory; empty means that of the first file.
        env_files: files of variables instead of ``.env`` in the project directory.
        profiles: profiles to enable; ``*`` enables all.
        interpolated: substitute variables.
        all_resources: keep networks, volumes, secrets and configs that no service uses.
        resolved_paths: make paths absolute.
        resolved_environment: read the variables of ``env_file`` entries, and give variables without a value that of the client.
        normalized: add what the files imply: names, the default network, dependencies.
        consistent: check that what services refer to exists.
    """

    files: tuple[str, ...] = ()
    environment: Mapping[str, str] = msgspec.field(default_factory=dict)
    name: str = ""
    directory: str = ""
    env_files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    interpolated: bool = True
    all_resources: bool = False
    resolved_paths: bool = True
    resolved_environment: bool = True
    normalized: bool = True
    consistent: bool = True


class Project(msgspec.Struct, frozen=True):
    """A loaded project.

    Attributes:
        name: lower case letters, digits, ``-`` and ``_``.
        directory: the absolute project directory.
        files: the absolute paths of the Compose files.
        environment: the variables that were used: those of ``.env`` and the client's.
        content: the canonical file: services of enabled profiles, networks, volumes, secrets and configs that they use.
        disabled: services whose profiles are not enabled, canonical, by name.
        all_resources: the content has objects that no service uses.
        unset: variables that the files use without a default though they are not set.
    """

    name: str
    directory: str
    files: tuple[str, ...]
    environment: Mapping[str, str]
    content: MappingNode
    disabled: Mapping[str, MappingNode]
    all_resources: bool = False
    unset: tuple[str, ...] = ()
