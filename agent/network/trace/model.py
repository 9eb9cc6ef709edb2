"""What a trace is asked, what is known of the cluster, and what it answers. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from agent.network.trace.reading import HostReading

REPAIR = "covey network verify --repair"


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint's place on a network. `addresses` have no prefix lengths."""

    network: str
    addresses: tuple[str, ...]
    mac: str = ""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A container, of a task or single. `host` is the name of its host. `names` are all by which it may be called."""

    name: str
    container_id: str
    host: str
    names: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    ready: bool = True
    service: str = ""
    published: tuple[str, ...] = ()
    """The ports that its host publishes for it alone, as "tcp 8080"."""

    def addresses_on(self, network: str) -> tuple[str, ...]:
        return next((one.addresses for one in self.attachments if one.network == network), ())


class TracedNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """A network. `device` is its bridge in the host's namespace, empty for an overlay network."""

    id: str
    name: str
    overlay: bool = False
    vni: int = 0
    device: str = ""
    ingress: bool = False


class TracedService(msgspec.Struct, frozen=True, kw_only=True):
    """A service. `vips` are its addresses by network, `published` the ports that every node publishes for it, as "tcp 8080"."""

    id: str
    name: str
    aliases: tuple[str, ...] = ()
    vips: Mapping[str, tuple[str, ...]] = {}
    published: tuple[str, ...] = ()


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A host. Without a `reading`, `error` says why there is none."""

    name: str
    address: str = ""
    node_id: str = ""
    reading: HostReading | None = None
    error: str = ""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the cluster, or of a single host: what is expected, and the readings of kernels."""

    hosts: Mapping[str, Host] = {}
    networks: Mapping[str, TracedNetwork] = {}
    endpoints: tuple[Endpoint, ...] = ()
    services: tuple[TracedService, ...] = ()


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """From where to where. `source` is a container, a task, a host, or `outside@HOST`; `target` a name or an address."""

    source: str
    target: str
    port: int = 0
    protocol: str = "tcp"


class State(StrEnum):
    """Of a hop: passed, the end of the path, or of no consequence for it but worth knowing."""

    PASSED = "passed"
    BROKEN = "broken"
    NOTE = "note"


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the path: what was looked at, where it was read from, what was found, and if it is broken why, and the remedy."""

    host: str
    namespace: str
    step: str
    read: str
    found: str
    state: State = State.PASSED
    reason: str = ""
    remedy: str = ""


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """The whole path; of a service all ways to its backends, one after the other. `reached` says whether all of them arrive.

    `missing` are namespaces of hosts that the path came to and that were not read. With them it may lead on.
    """

    hops: tuple[Hop, ...]
    reached: bool
    missing: frozenset[tuple[str, str]] = frozenset()
