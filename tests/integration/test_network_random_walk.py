"""A seeded random walk of the reconciler: fragments come and go at once with what others break; then nothing differs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import subprocess
from pathlib import Path

import pytest

from agent.network.namespace_state import (
    HOST,
    FdbEntry,
    Fragment,
    Link,
    NamespaceState,
    Neighbour,
    NftChain,
    NftSet,
    NftTable,
    Route,
    VethPeer,
    container_key,
    network_key,
)
from covey.errors import CoveyError
from tests.support.reconciled_namespaces import ReconciledNamespaces, reconciled_namespaces

pytestmark = pytest.mark.root
CONTAINERS = [container_key(f"c{number}") for number in range(4)]
NETWORKS = [network_key(f"n{number}") for number in range(2)]
STEPS = 500
TABLE = "inet cvt-walk"


def bridge(number: int, mtu: int) -> Fragment:
    name = f"cvtb{number}"
    chains = {
        "forward": NftChain(hook="type filter hook forward priority 0; policy accept;", rules=("iifname vmap @ways",)),
        f"net{number}": NftChain(rules=(f"meta mark {mtu} drop", "accept")),
    }
    ways = NftSet(head="type ifname : verdict;", is_map=True, elements={f'"{name}"': f"goto net{number}"})
    return {
        HOST: NamespaceState(
            links={name: Link(kind="bridge", mtu=mtu)},
            addresses=frozenset({(name, f"10.{number}.0.1/16"), (name, f"fd00:{number + 1}::1/64")}),
            routes=frozenset({Route(destination=f"10.10{number}.0.0/16", device=name, table=77)}),
            tables={TABLE: NftTable(chains=chains, sets={"ways": ways})},
            sysctls={"net/ipv4/ip_forward": "1"},
        )
    }


def endpoint(number: int, device: str, target: str, mtu: int) -> Fragment:
    """A pair from the host into a container, with a published port."""
    name, mac = f"cvte{number}{device}", f"02:42:00:00:0{number}:0{device[-1]}"
    ports = NftSet(
        head="type inet_service : ipv4_addr;", is_map=True, elements={str(8000 + number): f"10.50.{number}.2"}
    )
    peer = VethPeer(namespace=target, name=device, mac=mac, mtu=mtu)
    return {
        HOST: NamespaceState(
            links={name: Link(kind="veth", mtu=mtu, peer=peer)},
            neighbours=frozenset({Neighbour(name, f"10.50.{number}.2", mac)}),
            routes=frozenset({Route(destination=f"10.50.{number}.2/32", device=name)}),
            tables={TABLE: NftTable(sets={"ports": ports})},
        ),
        target: NamespaceState(
            links={device: Link(kind="veth", mac=mac, mtu=mtu)},
            addresses=frozenset({(device, f"10.50.{number}.2/32"), (device, f"fd50::{number + 2}/128")}),
            routes=frozenset({Route(destination=f"10.60.{number}.0/24", device=device)}),
        ),
    }


def overlay(number: int, hosts: int) -> Fragment:
    options = {"vxlan_id": 4200 + number, "local": "127.0.0.1", "port": 4789, "learning": 0}
    macs = [f"02:42:0a:00:00:0{host}" for host in range(hosts)]
    return {
        NETWORKS[number]: NamespaceState(
            links={
                "br0": Link(kind="bridge"),
                "vxlan0": Link(kind="vxlan", made_in=HOST, master="br0", options=options),
            },
            fdb=frozenset(FdbEntry("vxlan0", mac, f"10.1.1.{number}") for mac in macs),
            neighbours=frozenset(Neighbour("vxlan0", f"10.0.0.{number}{index}", mac) for index, mac in enumerate(macs)),
        )
    }


def random_fragment(dice: random.Random) -> tuple[str, Fragment | None]:
    kind, mtu = dice.choice(("bridge", "endpoint", "endpoint", "overlay")), dice.choice((1400, 1500))
    drop = dice.random() < 0.3
    if kind == "bridge":
        number = dice.randrange(3)
        return f"bridge {number}", None if drop else bridge(number, mtu)
    if kind == "overlay":
        number = dice.randrange(2)
        return f"overlay {number}", None if drop else overlay(number, dice.randrange(6))
    number, target = dice.randrange(4), dice.choice(CONTAINERS)
    return f"endpoint {number}", None if drop else endpoint(number, f"eth{number}", target, mtu)


BREAKAGES = (
    (HOST, "nft flush ruleset"),
    (HOST, f"nft add chain {TABLE} foreign; nft add rule {TABLE} foreign drop"),
    (HOST, f"nft delete element {TABLE} ports '{{ 8000 }}'"),
    (HOST, "ip link delete cvtb1"),
    (HOST, "ip link set cvte0eth0 down"),
    (HOST, "ip route flush table 77"),
    (HOST, "ip address add 10.88.0.1/16 dev cvtb0"),
    (HOST, "ip neigh flush nud permanent dev cvte1eth1"),
    (HOST, "ip route add 10.66.0.0/16 dev cvtb2 proto 192"),
    (CONTAINERS[0], "ip link delete eth0"),
    (CONTAINERS[1], "ip address flush dev eth1"),
    (CONTAINERS[2], "ip link set eth2 name lost"),
    (NETWORKS[0], "ip link delete vxlan0"),
    (NETWORKS[1], "bridge fdb append 00:00:00:00:00:00 dev vxlan0 self dst 10.1.1.77"),
)


async def break_something(spaces: ReconciledNamespaces, dice: random.Random) -> None:
    namespace, command = dice.choice(BREAKAGES)
    entered = ["nsenter", f"--net={spaces.paths[namespace]}", "sh", "-c", command]
    await asyncio.to_thread(subprocess.run, entered, check=False, capture_output=True, timeout=20)


async def restart(spaces: ReconciledNamespaces, left: dict[str, Fragment]) -> None:
    """Replace the reconciler by that of a new daemon, which is told the same fragments. What is under way is overtaken."""
    await asyncio.sleep(0)
    await spaces.reconciler.close()
    spaces.reconciler = spaces.new_reconciler()
    await spaces.reconciler.start()
    spaces.open_all(spaces.reconciler)
    await spaces.reconciler.put_many(left)
    spaces.reconciler.complete()


async def test_after_a_random_walk_nothing_differs(tmp_path: Path) -> None:
    seed = int(os.environ.get("COVEY_TEST_SEED", "") or secrets.randbelow(1 << 32))
    print(f"COVEY_TEST_SEED={seed}")
    dice = random.Random(seed)
    async with reconciled_namespaces(tmp_path, (HOST, *NETWORKS, *CONTAINERS)) as spaces:
        spaces.reconciler.complete()
        left: dict[str, Fragment] = {}

        async def change(key: str, fragment: Fragment | None) -> None:
            with contextlib.suppress(CoveyError):  # what others just broke is refused, and tried again
                await (spaces.reconciler.drop(key) if fragment is None else spaces.reconciler.put(key, fragment))

        for step in range(STEPS):
            batch: dict[str, Fragment | None] = dict(random_fragment(dice) for _ in range(dice.randrange(1, 4)))
            left = {key: value for key, value in {**left, **batch}.items() if value is not None}
            async with asyncio.TaskGroup() as group:
                for key, fragment in batch.items():
                    group.create_task(change(key, fragment))
                for _ in range(dice.randrange(0, 3)):
                    group.create_task(break_something(spaces, dice))
                if step % 50 == 25:
                    group.create_task(restart(spaces, left))
                elif dice.random() < 0.1:
                    group.create_task(spaces.reconciler.verify())
        await spaces.reconciler.repair()
        async with asyncio.timeout(2):
            while found := await spaces.settled():
                await asyncio.sleep(0.05)
                await spaces.reconciler.repair()
        assert found == ()
        for worker in spaces.reconciler._workers.values():
            assert worker.failures == {}
        await spaces.reconciler.put_many(dict.fromkeys(left))
        assert await spaces.reconciler.verify() == ()
        assert spaces.shell(HOST, "ip -br link show type veth; ip -br link show type bridge; nft list tables") == ""
