"""A project and its state on a host, as the planner sees them."""

from collections.abc import Mapping
from typing import Any

import msgspec

Values = Mapping[str, Any]


class Application(msgspec.Struct, frozen=True):
    """A project in plain values.

    Attributes:
        name: the project's name.
        directory: the absolute project directory.
        files: absolute paths of the Compose files.
        env_files: absolute paths of the files of variables.
        services: canonical services by name.
        networks: canonical networks by key.
        volumes: canonical volumes by key.
        secrets: canonical secrets by key.
        configs: canonical configs by key.
        disabled: services of profiles that are not enabled.
        environment: the variables of the project.
        all_resources: networks and volumes that no service uses are made too.
    """

    name: str
    directory: str = ""
    files: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    services: Mapping[str, Values] = msgspec.field(default_factory=dict)
    networks: Mapping[str, Values] = msgspec.field(default_factory=dict)
    volumes: Mapping[str, Values] = msgspec.field(default_factory=dict)
    secrets: Mapping[str, Values] = msgspec.field(default_factory=dict)
    configs: Mapping[str, Values] = msgspec.field(default_factory=dict)
    disabled: Mapping[str, Values] = msgspec.field(default_factory=dict)
    environment: Mapping[str, str] = msgspec.field(default_factory=dict)
    all_resources: bool = False


class ExistingContainer(msgspec.Struct, frozen=True):
    """A container of the project on the host. ``state`` is docker's word, such as ``running``; ``image`` the id of its image."""

    id: str
    name: str
    service: str
    number: int
    state: str
    config_hash: str = ""
    image: str = ""
    one_off: bool = False
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    networks: frozenset[str] = frozenset()
    volumes: frozenset[str] = frozenset()

    @property
    def running(self) -> bool:
        return self.state in ("running", "restarting", "paused")


class ExistingObject(msgspec.Struct, frozen=True):
    """A network or volume of the host, by name."""

    name: str
    id: str
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)


class HostState(msgspec.Struct, frozen=True):
    """What the host has of a project. ``images`` are ids by the names that services use; a missing image has none."""

    containers: tuple[ExistingContainer, ...] = ()
    networks: Mapping[str, ExistingObject] = msgspec.field(default_factory=dict)
    volumes: Mapping[str, ExistingObject] = msgspec.field(default_factory=dict)
    images: Mapping[str, str] = msgspec.field(default_factory=dict)
