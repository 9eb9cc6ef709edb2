"""Which ports of a container are published where: from what the user asked for and the addresses that the container has. Pure.

A port is published for IPv4 if the container has an IPv4 address, and for IPv6 if it has an IPv6 address: no program of the host
translates between the two. Only the host's own programs reach an IPv4 container at `[::1]`, because their sockets can be led elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import NamedTuple

import msgspec

from agent.container.model import PortBinding
from covey.errors import InvalidArgumentError
from covey.port_numbers import container_port, port_range

ANY4, ANY6, LOOPBACK6 = "0.0.0.0", "::", "::1"


class ReachableContainer(msgspec.Struct, frozen=True, kw_only=True):
    """How the host reaches a container: addresses without prefix, "" for none of that family, behind a device of the host.

    `subnets` are the container's neighbours, whose replies do not come back through the host; for a link of its own the container
    alone. `default_address` is where its network publishes ports that name no address.
    """

    endpoint_id: str = ""
    v4: str = ""
    v6: str = ""
    device: str = ""
    subnets: tuple[str, ...] = ()
    default_address: str = ""

    def of(self, host_address: str) -> str:
        return self.v6 if ":" in host_address else self.v4


class PortWish(NamedTuple):
    """One port to publish: the same number on all `host_addresses`, from `first` to `last`, or any (0).

    `on_loopback6` says that the host's own programs reach it at `[::1]`.
    """

    port: str
    host_addresses: tuple[str, ...]
    first: int
    last: int
    on_loopback6: bool = False

    @property
    def protocol(self) -> str:
        return self.port.partition("/")[2]

    @property
    def container_number(self) -> int:
        return int(self.port.partition("/")[0])


def wishes(
    bindings: Mapping[str, tuple[PortBinding, ...] | None],
    published_before: Mapping[tuple[str, str], int],
    container: ReachableContainer,
    default_address: str = "",
) -> list[PortWish]:
    """The ports to publish, those with a fixed number first, so that no drawn one takes them.

    `published_before` has the drawn number of a port on a host address: a restart keeps it. `default_address` and that of the
    container's network replace an empty host address; one that is not of all addresses is the only one then.

    Raises InvalidArgumentError for an address of a family that the container has no address of.
    """
    found = []
    for port, items in bindings.items():
        for item in items or ():
            any4 = container.default_address or default_address or ANY4
            hosts = tuple(_hosts(item.host_address, container, port, any4))
            first, last = port_range(item.host_port)
            before = {published_before.get((port, host), 0) for host in hosts}
            if not first and len(before) == 1 and (number := before.pop()):
                first = last = number
            on_loopback6 = (
                (item.host_address or any4) in {ANY4, ANY6, LOOPBACK6}
                and item.host_address != ANY4
                and not port.endswith("sctp")
            )
            if hosts or on_loopback6:
                found.append(PortWish(port, hosts, first, last, on_loopback6))
    return sorted(found, key=lambda wish: (not wish.first, wish.last - wish.first))


def all_published(
    bindings: Mapping[str, tuple[PortBinding, ...] | None], exposed: Iterable[str]
) -> dict[str, tuple[PortBinding, ...] | None]:
    """The bindings, with any port of the host for each exposed port that has none (`--publish-all`)."""
    found = dict(bindings)
    for port in exposed:
        name = container_port(port)
        found[name] = found.get(name) or (PortBinding(),)
    return found


def _hosts(address: str, container: ReachableContainer, port: str, any4: str) -> Iterator[str]:
    if not address:
        if container.v4 and ":" not in any4:
            yield any4
        if container.v6 and any4 in {ANY4, ANY6}:
            yield ANY6
        elif container.v6 and ":" in any4:
            yield any4
        return
    if not container.of(address) and address != LOOPBACK6:
        if address == ANY6:  # `-p [::]:80:80` beside IPv4 is common, and harmless
            return
        raise InvalidArgumentError(
            f"cannot publish {port} on {address}: the container has no IPv{ip_address(address).version} address"
        )
    yield address
