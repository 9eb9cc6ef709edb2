"""Benchmark of the reconciler of network state: changes among 100 containers, 10,000 map elements, and the start of a new daemon.

Real namespaces, veth pairs, routes and nftables, of this process alone. By itself: ``python -m tests.bench.network_state``.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.network.namespace_state import (
    HOST,
    FdbEntry,
    Fragment,
    Link,
    NamespaceState,
    NftChain,
    NftSet,
    NftTable,
    Route,
    VethPeer,
    container_key,
)
from tests.bench.figures import Figure, Target, table
from tests.support.reconciled_namespaces import PREFIX, ReconciledNamespaces, reconciled_namespaces

CONTAINERS = 100
ELEMENTS = 10_000
CHANGES = 20
_BRIDGE = f"{PREFIX}b"
_PORTS = f"inet {PREFIX}-ports"
_PORT_HEAD = "type inet_proto . inet_service : ipv4_addr . inet_service;"

Results = dict[str, list[float]]


def network_state(rounds: int) -> list[Figure]:
    """The time that callers wait, and for small changes the CPU time of this process, which is what other work loses."""
    results: Results = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(_measure(Path(folder), results))
    return [
        _figure(results, "network state: put of one map element, CPU", "ms", Target(5)),
        _figure(results, "network state: put of one route, CPU", "ms", Target(5)),
        _figure(results, "network state: container 100, attached", "ms", Target(20)),
        _figure(results, "network state: 10,000 map elements", "s", Target(0.3)),
        _figure(results, "network state: verify 101 namespaces", "s"),
        _figure(results, "network state: new daemon takes over 101 namespaces", "s", Target(2)),
    ]


def _figure(results: Results, name: str, unit: str, target: Target | None = None) -> Figure:
    return Figure(name, unit, tuple(results[name]), target)


async def _measure(folder: Path, results: Results) -> None:
    keys = [container_key(f"c{number}") for number in range(CONTAINERS)]

    async def timed(name: str, work: Callable[[], Awaitable[object]], *, per: float = 1, cpu: bool = False) -> None:
        clock = time.process_time if cpu else time.perf_counter
        began = clock()
        await work()
        results.setdefault(name, []).append((clock() - began) / per)

    async with reconciled_namespaces(folder, (HOST, *keys)) as spaces:
        await spaces.reconciler.put("bridge", _bridge())
        wanted = {key: _container(key, number) for number, key in enumerate(keys)}
        last = keys[-1]
        await _put(spaces, {key: fragment for key, fragment in wanted.items() if key != last})
        attached = lambda: spaces.reconciler.put(last, wanted[last])  # noqa: E731
        await timed("network state: container 100, attached", attached, per=1e-3)
        wanted["vips"] = _elements()
        await timed("network state: 10,000 map elements", lambda: spaces.reconciler.put("vips", wanted["vips"]))

        async def changes(make: Callable[[int], Fragment]) -> None:
            for number in range(CHANGES):
                await spaces.reconciler.put("small", make(number))
            await spaces.reconciler.drop("small")

        per = (CHANGES + 1) * 1e-3
        await timed("network state: put of one map element, CPU", lambda: changes(_element), per=per, cpu=True)
        await timed("network state: put of one route, CPU", lambda: changes(_route), per=per, cpu=True)
        await timed("network state: verify 101 namespaces", spaces.reconciler.verify)
        await spaces.reconciler.close()
        spaces.reconciler = spaces.new_reconciler()
        await spaces.reconciler.start()

        async def take_over() -> None:
            spaces.open_all(spaces.reconciler)
            await _put(spaces, {"bridge": _bridge(), **wanted})

        await timed("network state: new daemon takes over 101 namespaces", take_over)
        spaces.reconciler.complete()
        if found := await spaces.reconciler.repair():
            raise AssertionError(f"a new daemon finds differences: {found[:3]}")
        await spaces.reconciler.put_many(dict.fromkeys(wanted))


async def _put(spaces: ReconciledNamespaces, fragments: dict[str, Fragment]) -> None:
    if errors := await spaces.reconciler.put_many(fragments):
        raise AssertionError(f"the kernel refused what the benchmark needs: {errors}")


def _bridge() -> Fragment:
    return {
        HOST: NamespaceState(
            links={_BRIDGE: Link(kind="bridge", mtu=1400)}, addresses=frozenset({(_BRIDGE, "10.1.0.1/16")})
        )
    }


def _container(key: str, number: int) -> Fragment:
    """A container on a bridge with a published port, both address families, and rules of its own."""
    mac, address = f"02:42:00:00:00:{number:02x}", f"10.1.0.{number + 2}"
    lead = "meta l4proto { tcp, udp } dnat ip to meta l4proto . th dport map @ports"
    hook = "type nat hook prerouting priority dstnat;"
    published = NftTable(
        chains={"lead": NftChain(hook=hook, rules=(lead,))},
        sets={"ports": NftSet(head=_PORT_HEAD, is_map=True, elements={f"tcp . {8000 + number}": f"{address} . 80"})},
    )
    resolver = f"ip daddr 127.0.0.11 udp dport 53 dnat ip to 127.0.0.11:{30000 + number}"
    own = NftTable(chains={"out": NftChain(hook="type nat hook output priority -100;", rules=(resolver,))})
    peer = VethPeer(namespace=key, name="eth0", mac=mac, mtu=1400)
    port = Link(kind="veth", master=_BRIDGE, mtu=1400, peer=peer, port_options={"isolated": 1})
    name = f"{PREFIX}c{number}"
    return {
        HOST: NamespaceState(links={name: port}, fdb=frozenset({FdbEntry(name, mac)}), tables={_PORTS: published}),
        key: NamespaceState(
            links={"eth0": Link(kind="veth", mac=mac, mtu=1400), "lo": Link()},
            addresses=frozenset({("eth0", f"{address}/16"), ("eth0", f"fd00::{number + 2:x}/64")}),
            routes=frozenset({Route(destination="default", gateway="10.1.0.1")}),
            tables={f"inet {PREFIX}-own": own},
        ),
    }


def _elements() -> Fragment:
    """What 1,000 services with ten backends each need."""
    head = "type ipv4_addr . mark : ipv4_addr;"
    elements = {
        f"10.0.{service // 250}.{service % 250} . {slot}": f"10.2.{service // 250}.{slot}"
        for service in range(ELEMENTS // 10)
        for slot in range(10)
    }
    vips = NftSet(head=head, is_map=True, elements=elements)
    return {HOST: NamespaceState(tables={f"inet {PREFIX}-vips": NftTable(sets={"vips": vips})})}


def _element(number: int) -> Fragment:
    ports = NftSet(head=_PORT_HEAD, is_map=True, elements={f"udp . {number + 1}": "10.1.0.9 . 80"})
    return {HOST: NamespaceState(tables={_PORTS: NftTable(sets={"ports": ports})})}


def _route(number: int) -> Fragment:
    return {HOST: NamespaceState(routes=frozenset({Route(destination=f"10.66.{number}.0/24", device=_BRIDGE)}))}


if __name__ == "__main__":
    print(table(network_state(3)))
