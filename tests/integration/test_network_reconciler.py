"""The reconciler on a real kernel: what is wanted is there, any single difference is named and repaired, failures stay apart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.network import netns
from agent.network.namespace_state import (
    HOST,
    FdbEntry,
    Link,
    NamespaceState,
    Neighbour,
    NftChain,
    NftSet,
    NftTable,
    Route,
    VethPeer,
)
from agent.network.plan.diff import DifferenceKind
from agent.network.plan.items import NFT_KINDS, flatten
from covey.errors import ConflictError, UnavailableError, UnsupportedError
from tests.support.reconciled_namespaces import CONTAINER, NETWORK, reconciled_namespaces
from tests.support.rich_state import ALTERATIONS, FOREIGN, RICH, STRAYS, TABLE, Mutation, removal
from tests.support.switched_hosts import eventually

pytestmark = pytest.mark.root


def foreign_things(spaces) -> str:
    return spaces.shell(
        HOST,
        "ip -br address show dev other0; ip route show dev other0; ip rule show priority 300; ip neigh show dev other0;"
        "nft list table inet other; cat /sys/class/net/other0/ifindex 2>/dev/null || true",
    )


async def test_every_single_mutation_is_named_and_repaired(tmp_path: Path) -> None:
    """Each item of a rich state is removed, each kind altered, and strays of each kind are added, one at a time."""
    removals = [
        removal(namespace, item, value) for namespace, state in RICH.items() for item, value in flatten(state).items()
    ]
    async with reconciled_namespaces(tmp_path) as spaces:
        spaces.shell(HOST, FOREIGN)
        foreign = foreign_things(spaces)
        await spaces.reconciler.put("rich", RICH)
        spaces.reconciler.complete()
        assert await spaces.reconciler.verify() == ()
        wrong: list[str] = []
        for mutation in (*removals, *ALTERATIONS, *STRAYS):
            spaces.shell(mutation.namespace, mutation.command)
            wrong += await repair(spaces, mutation)
        assert wrong == []
        assert foreign_things(spaces) == foreign
        await spaces.reconciler.drop("rich")
        assert await spaces.reconciler.verify() == ()
        assert spaces.shell(HOST, "ip -br link show type veth; ip route show table 77; nft list tables").split(
            "\n"
        ) == [
            "table inet other",
            "",
        ]


async def repair(spaces, mutation: Mutation) -> list[str]:
    """What went wrong: the item was not named, or something still differs after the repair."""
    wrong: list[str] = []
    found = await spaces.reconciler.verify()
    is_repaired = mutation.namespace == HOST and mutation.item[0] in NFT_KINDS and not found  # the monitor was quicker
    if (mutation.namespace, mutation.item) not in {(one.namespace, one.item) for one in found} and not is_repaired:
        wrong.append(f"{mutation.command}: {[one.item for one in found]} named instead of {mutation.item}")
    await spaces.reconciler.repair()
    rest = await spaces.settled()
    if rest:
        wrong.append(
            f"{mutation.command}: {[(one.kind.value, one.item, one.wanted, one.found) for one in rest]} after the repair"
        )
        await spaces.reconciler.repair()
    return wrong


def bridge(name: str, mtu: int = 0) -> dict[str, NamespaceState]:
    return {HOST: NamespaceState(links={name: Link(kind="bridge", mtu=mtu)})}


def table(*rules: str, elements: dict[str, str] | None = None, chain: str = "c") -> dict[str, NamespaceState]:
    ports = NftSet(head="type inet_service : ipv4_addr;", is_map=True, elements=elements or {})
    return {
        HOST: NamespaceState(tables={TABLE: NftTable(chains={chain: NftChain(rules=rules)}, sets={"numbers": ports})})
    }


async def test_a_flush_by_others_is_repaired_within_a_second(tmp_path: Path) -> None:
    async with reconciled_namespaces(tmp_path) as spaces:
        await spaces.reconciler.put("rich", RICH)
        before = spaces.shell(HOST, "nft -s list ruleset")
        for command in ("nft flush ruleset", f"nft delete table {TABLE}", f"nft flush chain {TABLE} prerouting"):
            spaces.shell(HOST, command)
            await eventually(lambda: sorted(spaces.shell(HOST, "nft -s list ruleset")) == sorted(before), 1)


async def test_our_own_transactions_cause_no_check(tmp_path: Path) -> None:
    async with reconciled_namespaces(tmp_path) as spaces:
        monitor = spaces.reconciler._self_check._monitor
        assert monitor is not None
        asyncio.get_running_loop().remove_reader(monitor.fileno())
        await spaces.reconciler.put("rich", RICH)
        await spaces.reconciler.put(
            "more", table("accept", elements={str(port): "10.0.0.1" for port in range(1, 999)}, chain="x") | {}
        )
        assert not monitor.read()
        spaces.shell(HOST, "nft add table inet other")
        assert not monitor.read()
        spaces.shell(HOST, f"nft delete element {TABLE} marks '{{ 11 }}'")
        assert monitor.read()


async def test_a_new_daemon_takes_over_what_it_finds_and_changes_nothing(tmp_path: Path) -> None:
    def everything() -> str:
        listing = "ip -o address show scope global; ip route show table all; nft -a list ruleset"
        return "".join(spaces.shell(key, listing) for key in spaces.paths).replace(" linkdown", "")

    async with reconciled_namespaces(tmp_path) as spaces:
        await spaces.reconciler.put("rich", RICH)
        await spaces.reconciler.put("old", bridge("cvt-old"))
        await spaces.reconciler.close()
        before = everything()
        spaces.reconciler = spaces.new_reconciler()
        await spaces.reconciler.start()
        spaces.open_all(spaces.reconciler)
        await spaces.reconciler.put("rich", RICH)
        assert everything() == before
        assert await spaces.reconciler.repair() == ()
        spaces.reconciler.complete()
        assert [(one.kind, one.item) for one in await spaces.reconciler.repair()] == [
            (DifferenceKind.STRAY, ("link", "cvt-old"))
        ]
        assert "cvt-old" not in spaces.shell(HOST, "ip link")
        spaces.shell(HOST, f"nft delete element {TABLE} marks '{{ 11 }}'")


async def test_what_was_dropped_while_the_daemon_was_down_is_dropped_by_the_new_one(tmp_path: Path) -> None:
    async with reconciled_namespaces(tmp_path) as spaces:
        await spaces.reconciler.put("rich", RICH)
        await spaces.reconciler.close()
        spaces.reconciler = spaces.new_reconciler()
        await spaces.reconciler.start()
        spaces.open_all(spaces.reconciler)
        spaces.reconciler.complete()
        await spaces.reconciler.repair()
        assert spaces.shell(HOST, "ip -br link show type veth; ip route show table 77; nft list tables") == ""


async def test_a_refused_item_fails_its_fragment_and_no_other(tmp_path: Path) -> None:
    async with reconciled_namespaces(tmp_path) as spaces:
        bad_rule = table("meta nonsense 1 accept", chain="bad")
        unknown = {HOST: NamespaceState(routes=frozenset({Route(destination="10.9.0.0/16", gateway="10.250.0.1")}))}
        missing = {
            HOST: NamespaceState(links={"m0": Link(kind="macvlan", parent="nothere", options={"mode": "bridge"})})
        }
        errors = await spaces.reconciler.put_many(
            {
                "good": table("accept", elements={"80": "10.0.0.1"}),
                "bridge": bridge("cvt0"),
                "rule": bad_rule,
                "route": unknown,
                "parent": missing,
            }
        )
        assert set(errors) == {"rule", "route", "parent"}
        assert "chain inet cvt-ports bad on this host" in str(errors["rule"])
        assert "syntax error" in str(errors["rule"]) or "nonsense" in str(errors["rule"])
        assert "IPv4 route 10.9.0.0/16 in table 254 on this host: Network is unreachable" in str(errors["route"])
        assert "its parent nothere does not exist" in str(errors["parent"])
        assert "80 : 10.0.0.1" in spaces.shell(HOST, f"nft list table {TABLE}")
        assert "cvt0" in spaces.shell(HOST, "ip link")
        await spaces.reconciler.put("later", table("drop", chain="d"))
        assert {one.item for one in await spaces.reconciler.verify()} == {
            ("chain", TABLE, "bad"),
            ("link", "m0"),
            ("route", "4", "254", "10.9.0.0/16", "0"),
        }
        spaces.shell(HOST, "ip address add 10.250.0.9/24 dev cvt0; ip link set cvt0 up")
        await spaces.reconciler.put("route", unknown)
        for key in ("rule", "route", "parent"):
            await spaces.reconciler.drop(key)
        assert await spaces.reconciler.verify() == ()


async def test_fragments_that_contradict_each_other_are_refused_and_change_nothing(tmp_path: Path) -> None:
    async with reconciled_namespaces(tmp_path) as spaces:
        await spaces.reconciler.put("one", bridge("cvt0", 1400))
        with pytest.raises(ConflictError, match="two and one want different things of the device cvt0"):
            await spaces.reconciler.put("two", bridge("cvt0", 1300))
        await spaces.reconciler.put("three", bridge("cvt0", 1400))
        await spaces.reconciler.drop("one")
        assert "mtu 1400" in spaces.shell(HOST, "ip link show cvt0")
        await spaces.reconciler.drop("three")
        assert "cvt0" not in spaces.shell(HOST, "ip link")


async def test_a_device_of_the_host_is_used_but_neither_replaced_nor_removed(tmp_path: Path) -> None:
    async with reconciled_namespaces(tmp_path) as spaces:
        spaces.shell(HOST, "ip link add mine type bridge; ip link add other type veth peer name other2")
        with pytest.raises(
            ConflictError, match="device other exists on this host and was not made by Covey: remove it"
        ):
            await spaces.reconciler.put("clash", bridge("other"))
        await spaces.reconciler.drop("clash")
        await spaces.reconciler.put("used", bridge("mine", 1400))
        assert "mtu 1400" in spaces.shell(HOST, "ip link show mine")
        await spaces.reconciler.drop("used")
        names = spaces.shell(HOST, "ip -br link")
        assert "mine" in names
        assert "other2" in names


async def test_what_the_kernel_lacks_is_refused_by_name(tmp_path: Path) -> None:
    async with reconciled_namespaces(tmp_path) as spaces:
        with pytest.raises(UnsupportedError, match="kernel has no madeup devices: load its module"):
            await spaces.reconciler.put("x", {HOST: NamespaceState(links={"cvt0": Link(kind="madeup")})})
        with pytest.raises(UnsupportedError, match="devices of kind bridge have no option speed"):
            await spaces.reconciler.put(
                "y", {HOST: NamespaceState(links={"cvt1": Link(kind="bridge", options={"speed": 1})})}
            )
        with pytest.raises(
            UnavailableError,
            match="sysctl net/no/such on this host: No such file or directory.*; load the kernel module",
        ):
            await spaces.reconciler.put("z", {HOST: NamespaceState(sysctls={"net/no/such": "1"})})


async def test_a_namespace_that_opens_later_gets_what_is_wanted_in_it(tmp_path: Path) -> None:
    """A container's fragment comes before its sandbox; later the sandbox is removed and made again under the same name."""
    pair = {
        HOST: NamespaceState(links={"cv1": Link(kind="veth", peer=VethPeer(namespace=CONTAINER, name="eth0"))}),
        CONTAINER: NamespaceState(links={"eth0": Link(kind="veth")}, addresses=frozenset({("eth0", "10.0.0.2/24")})),
    }
    async with reconciled_namespaces(tmp_path) as spaces:
        spaces.reconciler.close_namespace(CONTAINER)
        with pytest.raises(UnavailableError, match="of container c1 is not open"):
            await spaces.reconciler.put("pair", pair)
        spaces.reconciler.open_namespace(CONTAINER, spaces.paths[CONTAINER])
        await spaces.reconciler.put_many({"pair": pair})
        await eventually(lambda: "10.0.0.2/24" in spaces.shell(CONTAINER, "ip -br address"))
        spaces.reconciler.close_namespace(CONTAINER)
        netns.remove(spaces.paths[CONTAINER])
        spaces.add(CONTAINER)
        spaces.reconciler.open_namespace(CONTAINER, spaces.paths[CONTAINER])
        await eventually(lambda: "10.0.0.2/24" in spaces.shell(CONTAINER, "ip -br address"))
        assert await spaces.settled() == ()


async def test_many_puts_at_once_share_passes(tmp_path: Path) -> None:
    async with reconciled_namespaces(tmp_path, (HOST, NETWORK)) as spaces:
        passes = 0
        run = spaces.reconciler.run

        async def counted(kernel, work):
            nonlocal passes
            passes += 1
            return await run(kernel, work)

        spaces.reconciler.run = counted
        puts = [
            spaces.reconciler.put(f"port {port}", table(elements={str(port): "10.0.0.1"})) for port in range(1, 201)
        ]
        await asyncio.gather(*puts)
        assert passes <= 4
        assert await spaces.reconciler.verify() == ()
        await spaces.reconciler.put_many({f"port {port}": None for port in range(1, 200)})
        assert "{ 200 : 10.0.0.1 }" in spaces.shell(HOST, f"nft list table {TABLE}")


async def test_a_chain_goes_with_the_elements_that_lead_to_it(tmp_path: Path) -> None:
    """Ten networks share a map of devices to chains; each has a chain and an element of its own."""

    def network(number: int) -> dict[str, NamespaceState]:
        ways = NftSet(head="type ifname : verdict;", is_map=True, elements={f'"br-{number}"': f"goto net{number}"})
        forward = NftChain(hook="type filter hook forward priority 0; policy accept;", rules=("iifname vmap @ways",))
        own = NftSet(head="type ipv4_addr;", elements={f"10.0.0.{number}": ""})
        chains = {"forward": forward, f"net{number}": NftChain(rules=(f"ip daddr @own{number} accept",))}
        return {HOST: NamespaceState(tables={TABLE: NftTable(chains=chains, sets={"ways": ways, f"own{number}": own})})}

    async with reconciled_namespaces(tmp_path, (HOST,)) as spaces:
        spaces.reconciler.complete()
        assert await spaces.reconciler.put_many({f"network {number}": network(number) for number in range(10)}) == {}
        for number in range(9):
            await spaces.reconciler.drop(f"network {number}")
            assert await spaces.reconciler.verify() == ()
        assert "net8" not in spaces.shell(HOST, f"nft list table {TABLE}")
        await spaces.reconciler.put("network 9", network(7))
        assert "net7" in spaces.shell(HOST, f"nft list table {TABLE}")
        await spaces.reconciler.drop("network 9")
        assert spaces.shell(HOST, "nft list tables") == ""


async def test_what_a_device_loses_by_a_change_is_there_again(tmp_path: Path) -> None:
    """The kernel forgets neighbours when a MAC changes, and forwarding entries when a port changes its bridge."""

    def fragment(mac: str, master: str) -> dict[str, NamespaceState]:
        return {
            HOST: NamespaceState(
                links={
                    "cvt0": Link(kind="bridge", mac=mac),
                    "cvt1": Link(kind="bridge"),
                    "cv1": Link(kind="veth", master=master, peer=VethPeer(namespace=CONTAINER, name="eth0")),
                },
                addresses=frozenset({("cvt0", "10.0.0.1/24")}),
                routes=frozenset({Route(destination="10.9.0.0/16", gateway="10.0.0.9")}),
                neighbours=frozenset({Neighbour("cvt0", "10.0.0.9", "02:42:00:00:00:09")}),
                fdb=frozenset({FdbEntry("cv1", "02:42:00:00:00:07")}),
            ),
            CONTAINER: NamespaceState(links={"eth0": Link(kind="veth")}),
        }

    async with reconciled_namespaces(tmp_path) as spaces:
        for mac, master in (
            ("02:00:00:00:00:0A", "cvt0"),
            ("02:00:00:00:00:0B", "cvt0"),
            ("02:00:00:00:00:0B", "cvt1"),
        ):
            await spaces.reconciler.put("one", fragment(mac, master))
            assert await spaces.reconciler.verify() == ()


async def test_a_change_that_the_end_of_the_daemon_overtakes_is_no_success(tmp_path: Path) -> None:
    async with reconciled_namespaces(tmp_path, (HOST,)) as spaces:
        reached = asyncio.Event()

        async def blocked(kernel, work):
            reached.set()
            await asyncio.Event().wait()

        spaces.reconciler.run = blocked
        async with asyncio.TaskGroup() as group:
            change = group.create_task(refused(spaces.reconciler.put("one", bridge("cvt0"))))
            await reached.wait()
            await spaces.reconciler.close()
        assert "the daemon is stopping" in change.result()
        assert "is not open" in await refused(spaces.reconciler.put("two", bridge("cvt1")))


async def refused(change) -> str:
    with pytest.raises(UnavailableError) as caught:
        await change
    return str(caught.value)
