"""The subnets that the cluster's networks hold, in order, so that one more network does not sort those of all others. Pure."""

from __future__ import annotations

import functools
import ipaddress
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

Span = tuple[int, int]
"""The first and the last address of a subnet, as numbers."""


@functools.lru_cache(maxsize=65_536)
def span_of(text: str) -> tuple[int, Span]:
    """The family of a subnet, and its first and last address."""
    subnet = ipaddress.ip_network(text, strict=False)
    return subnet.version, (int(subnet.network_address), int(subnet.broadcast_address))


class TakenSubnets:
    """Subnets by network, and their spans in order by family."""

    def __init__(self) -> None:
        self._spans: dict[int, list[Span]] = {4: [], 6: []}
        self._subnets: dict[str, tuple[str, ...]] = {}

    def set(self, network_id: str, subnets: Iterable[str]) -> None:
        """The subnets of a network from now on; none if it is gone."""
        after, before = tuple(subnets), self._subnets.pop(network_id, ())
        if after:
            self._subnets[network_id] = after
        if after == before:
            return
        for family, span in map(span_of, before):
            spans = self._spans[family]
            del spans[bisect_left(spans, span)]
        for family, span in map(span_of, after):
            insort(self._spans[family], span)

    def with_routes(self, family: int, routes: Iterable[str]) -> Sequence[Span]:
        """The spans of a family in order, those of these routes among them."""
        more = [span for version, span in map(span_of, routes) if version == family]
        return sorted([*self._spans[family], *more]) if more else self._spans[family]
