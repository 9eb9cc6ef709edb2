"""Types of builds: the request, what a build reports, and the records of the build cache. Pure."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from agent.image.model import Progress
from agent.image.registry.auth_config import Credentials
from covey.errors import CoveyError


class BuildUlimit(msgspec.Struct, frozen=True):
    """A resource limit of the processes that a build runs."""

    name: str
    soft: int
    hard: int


class BuildRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A build as the client asks for it. Sizes are in bytes, 0 means no limit."""

    dockerfile: str = "Dockerfile"
    tags: tuple[str, ...] = ()
    target: str = ""
    build_args: Mapping[str, str | None] = {}
    """None where the client names an argument of which it has no value."""
    labels: Mapping[str, str] = {}
    no_cache: bool = False
    pull: bool = False
    platform: str = ""
    network: str = ""
    """`none`, `host`, `container:REF` or a network; "" is the default bridge."""
    extra_hosts: tuple[str, ...] = ()
    shm_size_bytes: int = 0
    ulimits: tuple[BuildUlimit, ...] = ()
    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    cpu_shares: int = 0
    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    cgroup_parent: str = ""
    cache_from: tuple[str, ...] = ()
    security_options: tuple[str, ...] = ()
    credentials: Mapping[str, Credentials] = {}
    """By the registry's host."""
    secrets: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    """The files of `RUN --mount=type=secret`, by id."""

    def __repr__(self) -> str:
        return f"BuildRequest({self.dockerfile!r}, tags={self.tags!r})"


class BuiltImage(msgspec.Struct, frozen=True):
    """The result: the image's id, and its tags in the short form."""

    id: str
    tags: tuple[str, ...]


class CacheRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A layer of the build cache. `created` is RFC 3339."""

    id: str
    parent: str = ""
    description: str = ""
    created: str = ""
    size_bytes: int = 0
    in_use: bool = False


BuildLine = str | Progress
"""Text of the build's log, or the progress of a pull."""

BuildReport = Callable[[BuildLine], Awaitable[None]]
"""Receives each line. It waits for the client, so no log is buffered."""


class BuildStepError(CoveyError):
    """A step of the build failed. `code` is the exit code of a command, 0 for other failures."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code
