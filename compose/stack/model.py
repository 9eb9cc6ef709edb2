"""The model of a stack: API objects, with names where the daemon needs ids."""

from typing import Any

import msgspec


class StackNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """A network; ``body`` is that of /networks/create, empty for an external network."""

    key: str
    name: str
    external: bool = False
    body: dict[str, Any] = {}


class StackFile(msgspec.Struct, frozen=True, kw_only=True):
    """A secret or a config.

    Attributes:
        data: None if it is external or kept by a driver.
        versioned: the name may follow the content: the file has no ``name`` of its own.
    """

    key: str
    name: str
    external: bool = False
    labels: dict[str, str] = {}
    data: bytes | None = None
    versioned: bool = False
    driver: dict[str, Any] | None = None
    template_driver: str = ""


class StackService(msgspec.Struct, frozen=True, kw_only=True):
    """A service. ``spec`` has names of networks, secrets and configs; ``plan.resolve_ids`` replaces them by ids."""

    key: str
    name: str
    spec: dict[str, Any]


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """All objects that a Compose file describes."""

    name: str
    networks: tuple[StackNetwork, ...] = ()
    secrets: tuple[StackFile, ...] = ()
    configs: tuple[StackFile, ...] = ()
    services: tuple[StackService, ...] = ()
