"""Messages of nf_tables that are packed here, beside what libnftables sends for the same chains, on a real kernel."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from agent.network.kernel.netlink import NetlinkSocket
from agent.network.kernel.nft_commands import commands
from agent.network.kernel.nft_messages import pack
from agent.network.namespace_state import NftChain
from agent.network.netns import Namespace, anonymous_namespace
from agent.network.nftables import NftablesContext
from agent.network.plan.balance import balance
from agent.network.plan.diff import Difference, DifferenceKind

pytestmark = pytest.mark.root
TABLE = "inet covey-vips"
NETFILTER = 12
HEAD = (
    f"add table {TABLE}",
    f"add map {TABLE} vips4 {{ type ipv4_addr : verdict; }}",
    f"add map {TABLE} vips6 {{ type ipv6_addr : verdict; }}",
    f"add chain {TABLE} old",
    f"add rule {TABLE} old dnat ip to numgen inc mod 2 map {{ 0 : 10.9.9.1, 1 : 10.9.9.2 }}",
)


@pytest.fixture(name="pair")
def _pair() -> Iterator[tuple[tuple[Namespace, NftablesContext], ...]]:
    spaces = [anonymous_namespace() for _ in range(2)]
    contexts = [NftablesContext(space) for space in spaces]
    for context in contexts:
        context.run("\n".join(HEAD) + "\n")
    yield tuple(zip(spaces, contexts, strict=True))
    for space, context in zip(spaces, contexts, strict=True):
        context.close()
        space.close()


def chain(name: str, addresses: list[str], *, found: NftChain | None = None) -> Difference:
    kind = DifferenceKind.ALTERED if found else DifferenceKind.MISSING
    return Difference("n", kind, ("chain", TABLE, name), NftChain(rules=(balance("", addresses, "s"),)), found)


def element(family: int, key: str, value: str) -> Difference:
    return Difference("n", DifferenceKind.MISSING, ("element", TABLE, f"vips{family}", key), value)


def listed(context: NftablesContext) -> str:
    return re.sub(rb'"handle": \d+', b"", context.list_json("list ruleset")).decode()


V4 = [f"10.0.{number // 250}.{number % 250 + 1}" for number in range(300)]
CHANGES = [
    [chain("old", V4[:3], found=NftChain(rules=("x",)))],
    [chain("old", ["fd00::2", "fd00::1"], found=NftChain(rules=("x",)))],
    [chain("vip4-a", V4), chain("vip6-a", ["fd00::5", "fd00::6"]), element(4, "10.0.9.1", "jump vip4-a"),
     element(6, "fd00::9", "jump vip6-a"), chain("old", V4[:2], found=NftChain(rules=("x",)))],
    [*(chain(f"c{n}", V4[n : n + 10]) for n in range(200)), *(element(4, f"10.8.0.{n}", f"jump c{n}") for n in range(200))],
]  # fmt: skip


@pytest.mark.parametrize("changes", CHANGES)
def test_the_kernel_lists_what_it_lists_after_libnftables(
    pair: tuple[tuple[Namespace, NftablesContext], ...], changes: list[Difference]
) -> None:
    """A daemon recognizes its chains by their listing, whoever loaded them."""
    (ours, first), (_, second) = pair
    batch = pack(changes)
    assert batch is not None

    def send() -> tuple[int, str]:
        with NetlinkSocket(NETFILTER) as netlink:
            return netlink.transact(batch)

    assert ours.run(send) == (0, "")
    second.run("\n".join(line.line for line in commands(changes)) + "\n")
    assert listed(first) == listed(second)
    assert "numgen" in listed(first)


def test_a_chain_is_loaded_again_and_again(pair: tuple[tuple[Namespace, NftablesContext], ...]) -> None:
    """Its map has the same name each time, and the old one goes in the same transaction."""
    (ours, first), (_, second) = pair
    for count in (3, 2, 5):
        batch = pack([chain("old", V4[:count], found=NftChain(rules=("x",)))])
        assert batch is not None

        def send(batch: bytes = batch) -> tuple[int, str]:
            with NetlinkSocket(NETFILTER) as netlink:
                return netlink.transact(batch)

        assert ours.run(send) == (0, "")
    second.run("\n".join(line.line for line in commands([chain("old", V4[:5], found=NftChain(rules=("x",)))])) + "\n")
    assert listed(first) == listed(second)


def test_a_refused_transaction_changes_nothing(pair: tuple[tuple[Namespace, NftablesContext], ...]) -> None:
    (space, context), _ = pair
    before = listed(context)
    batch = pack([chain("new", V4[:2]), element(4, "10.0.9.1", "jump missing")])
    assert batch is not None

    def send() -> int:
        with NetlinkSocket(NETFILTER) as netlink:
            return netlink.transact(batch)[0]

    assert space.run(send) == 2
    assert listed(context) == before
