"""What a manifest comes to: objects of the Engine API, with names where only the cluster knows the ids."""

from typing import Any

import msgspec


class StackNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """``body`` is what /networks/create takes; empty for one that must exist."""

    key: str
    name: str
    external: bool = False
    body: dict[str, Any] = {}


class StackFile(msgspec.Struct, frozen=True, kw_only=True):
    """A secret or config. ``data`` None: it must exist, or a driver keeps it."""

    key: str
    name: str
    external: bool = False
    labels: dict[str, str] = {}
    data: bytes | None = None
    driver: dict[str, Any] | None = None
    template_driver: str = ""


class StackService(msgspec.Struct, frozen=True, kw_only=True):
    """``spec`` has names of networks, secrets and configs; ``plan.resolve`` puts the ids in."""

    key: str
    name: str
    spec: dict[str, Any]


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    networks: tuple[StackNetwork, ...] = ()
    secrets: tuple[StackFile, ...] = ()
    configs: tuple[StackFile, ...] = ()
    services: tuple[StackService, ...] = ()
