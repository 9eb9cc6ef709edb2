"""Late replies of datagrams: what a backend still answers after its client's flow has moved to another one. Pure.

A flow moves when its conntrack entry is deleted, and with it goes what would give a reply on its way the address that the client sent to.
So what the entry knew is put into maps of the kernel first, and a packet that no entry translates gets its source from there.

Invariant: a tracked packet is never touched: only what conntrack takes for a new connection is looked up.
Invariant: the maps are bounded, and the kernel forgets an element by itself after `SECONDS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from agent.network.namespace_state import NftChain, NftSet

SECONDS = 30
"""As long as conntrack itself waits for a reply."""
MAX_FLOWS = 4096
"""Of one move; replies of further ones are not translated."""
_SIZE = 65536


class MovedFlow(NamedTuple):
    """Replies from `backend` to `client` come as from `answers_as`. Each is an address and a port."""

    backend: tuple[str, int]
    client: tuple[str, int]
    answers_as: tuple[str, int]


def sets() -> dict[str, NftSet]:
    tail = f"flags timeout; size {_SIZE}; timeout {SECONDS}s;"
    key = "type ipv{0}_addr . inet_service . ipv{0}_addr . inet_service"
    return {
        **{f"late{n}-port": NftSet(head=f"{key.format(n)} : inet_service; {tail}", is_map=True) for n in (4, 6)},
        **{f"late{n}-address": NftSet(head=f"{key.format(n)} : ipv{n}_addr; {tail}", is_map=True) for n in (4, 6)},
    }


def chains(*, leaving: Sequence[str] = ()) -> dict[str, NftChain]:
    """For packets that are forwarded, and for those that this host takes itself. Before masquerade, which would give the reply of a
    container on this host another source first. `leaving` are other rules of the table for what leaves, which cost less in this chain
    than in one of their own.
    """
    hook = "type filter hook {} priority 90; policy accept;"
    look = "ct state new meta l4proto udp jump late"
    return {
        "late-postrouting": NftChain(hook=hook.format("postrouting"), rules=(*leaving, look)),
        "late-input": NftChain(hook=hook.format("input"), rules=(look,)),
        "late": NftChain(rules=(_rule("ip", 4), _rule("ip6", 6))),
    }


def _rule(protocol: str, number: int) -> str:
    key = f"{protocol} saddr . udp sport . {protocol} daddr . udp dport"
    return f"udp sport set {key} map @late{number}-port {protocol} saddr set {key} map @late{number}-address"


def commands(table: str, flows: Iterable[MovedFlow]) -> list[str]:
    """The nft commands that keep what the entries of these flows know."""
    return [line for flow in islice(flows, MAX_FLOWS) for line in _elements(table, flow)]


def _elements(table: str, flow: MovedFlow) -> Iterator[str]:
    (backend, port), (client, client_port), (address, answer_port) = flow
    number = 6 if ":" in address else 4
    yield (f"add element {table} late{number}-port {{ {backend} . {port} . {client} . {client_port} : {answer_port} }}")
    # The port is translated first, and so part of the key of the address.
    yield (
        f"add element {table} late{number}-address {{ {backend} . {answer_port} . {client} . {client_port} : {address} }}"
    )
