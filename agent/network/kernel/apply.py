"""Carries out the differences of one namespace: removals first, then additions in order of dependence.

Invariant: an item that the kernel refuses fails alone, with the items of its fragments in the same nftables transaction; the others
are carried out. Invariant: filter rules are in place before the devices that they concern are up.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence

from agent.network.kernel import entry_messages as entries
from agent.network.kernel.elsewhere import device_index
from agent.network.kernel.link_changes import LinkChanges
from agent.network.kernel.netlink import NetlinkSocket
from agent.network.kernel.nft_commands import with_dependents
from agent.network.kernel.nft_messages import pack
from agent.network.kernel.nft_tables import NftTables, Owners
from agent.network.kernel.outcome import Outcome
from agent.network.kernel.refusal import nft_refusal, refusal
from agent.network.kernel.sysctls import device_of_sysctl, read_sysctls, write_sysctl
from agent.network.kernel.target import Target
from agent.network.namespace_state import PolicyRule, Route
from agent.network.plan.diff import Difference
from agent.network.plan.items import NFT_KINDS, Item, Value, device_of
from covey.errors import CoveyError

_NETLINK_NETFILTER = 12
_GONE = {errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL}


def apply(
    target: Target,
    differences: Sequence[Difference],
    wanted: Mapping[Item, Value],
    *,
    owners: Owners,
    aliases: Mapping[str, str],
) -> Outcome:
    """Carry out differences in the calling thread's namespace. `wanted` is what is wanted of it, at least of these items."""
    outcome = Outcome()
    links = [one for one in differences if one.item[0] == "link"]
    with NetlinkSocket() as netlink:
        changes = LinkChanges(target, netlink, aliases, outcome)
        gone = [one for one in links if one.wanted is None]
        doomed = {one.item[1] for one in gone}
        removals = [one for one in differences if one.wanted is None and device_of(one.item, one.found) not in doomed]
        _send(target, netlink, _ordered(removals), outcome, add=False)
        changes.delete(gone)
        come = [one for one in differences if one.wanted is not None]
        sysctls = [one for one in come if one.item[0] == "sysctl"]
        _write_sysctls(target, [one for one in sysctls if not device_of_sysctl(one.item[1])], outcome)
        _apply_nft(target, differences, wanted, owners, outcome)
        wanted_links = [one for one in links if one.wanted is not None]
        changes.make(wanted_links)
        _write_sysctls(target, [one for one in sysctls if device_of_sysctl(one.item[1])], outcome)
        changes.set(wanted_links)
        _enable_ipv6(come, wanted, outcome)
        _send(target, netlink, _ordered(come), outcome, add=True)
    return outcome


def _apply_nft(
    target: Target, differences: Sequence[Difference], wanted: Mapping[Item, Value], owners: Owners, outcome: Outcome
) -> None:
    concerned = [one for one in differences if one.item[0] in NFT_KINDS]
    if not concerned:
        return
    full = with_dependents(concerned, wanted)
    if _took_messages(full):
        return
    try:
        with NftTables(target.scratch) as tables:
            refused = tables.apply(full, owners)
        outcome.failures |= {item: nft_refusal(target.key, item, reason) for item, reason in refused.items()}
    except CoveyError as error:
        outcome.failures |= {one.item: error for one in full}


def _took_messages(differences: Sequence[Difference]) -> bool:
    """Whether the kernel took all differences without libnftables. It loads what is refused, and says why that is."""
    batch = pack(differences)
    if batch is None:
        return False
    try:
        with NetlinkSocket(_NETLINK_NETFILTER) as netlink:
            return netlink.transact(batch)[0] == 0
    except (CoveyError, OSError):
        return False


def _write_sysctls(target: Target, differences: Iterable[Difference], outcome: Outcome) -> None:
    for one in differences:
        try:
            write_sysctl(one.item[1], str(one.wanted))
        except OSError as error:
            outcome.failures[one.item] = refusal(target.key, one.item, one.wanted, error.errno or errno.EIO)


def _enable_ipv6(differences: Iterable[Difference], wanted: Mapping[Item, Value], outcome: Outcome) -> None:
    """IPv6 is off by default in sandboxes; a device that gets an IPv6 address needs it."""
    devices = {one.item[1] for one in differences if one.item[0] == "address" and ":" in one.item[2]}
    for device in devices:
        path = f"net/ipv6/conf/{device}/disable_ipv6"
        if ("sysctl", path) not in wanted and read_sysctls([path]).get(path) == "1":
            try:
                write_sysctl(path, "0")
            except OSError:  # the address itself is refused then, with the reason
                outcome.lost_entries = True


def _ordered(differences: Iterable[Difference]) -> list[Difference]:
    """Entries in the given order, but routes through a gateway after those that make the gateway reachable."""

    def rank(one: Difference) -> int:
        value = one.wanted or one.found
        gateway = isinstance(value, Route) and bool(value.gateway)
        return int(gateway) if one.wanted is not None else int(not gateway)

    entries_ = [one for one in differences if one.item[0] in {"address", "route", "rule", "neighbour", "fdb"}]
    plain = [one for one in entries_ if one.item[0] not in {"route", "rule"}]
    routes = sorted((one for one in entries_ if one.item[0] == "route"), key=rank)
    rules = [one for one in entries_ if one.item[0] == "rule"]
    if entries_ and entries_[0].wanted is None:
        return [*rules, *routes, *plain]
    return [*plain, *routes, *rules]


def _send(
    target: Target, netlink: NetlinkSocket, differences: Sequence[Difference], outcome: Outcome, *, add: bool
) -> None:
    requests: list[bytes] = []
    sources: list[Difference] = []
    indexes: dict[str, int] = {}
    for one in differences:
        value = one.wanted if add else one.found
        if value is None:
            continue
        device = device_of(one.item, value)
        if device and device not in indexes:
            indexes[device] = device_index(device)
        if device and not indexes[device]:
            if add:
                outcome.failures[one.item] = refusal(
                    target.key, one.item, value, errno.ENODEV, f"there is no device {device}"
                )
            continue
        try:
            requests.append(_message(one.item, value, indexes.get(device, 0), add=add))
        except CoveyError as error:
            outcome.failures[one.item] = error
            continue
        sources.append(one)
    for number, (code, words) in netlink.send(requests).items():
        item = sources[number].item
        harmless = code in _GONE if not add else code == errno.EEXIST
        if not harmless:
            value = sources[number].wanted if add else sources[number].found
            outcome.failures[item] = refusal(target.key, item, value, code, words)


def _message(item: Item, value: Value, index: int, *, add: bool) -> bytes:
    if item[0] == "address":
        return entries.address_message(item, index, add=add)
    if isinstance(value, Route):
        return entries.route_message(value, index, add=add)
    if isinstance(value, PolicyRule):
        return entries.rule_message(value, add=add)
    if item[0] == "neighbour":
        return entries.neighbour_message(item, value, index, add=add)
    return entries.forwarding_message(item, value, index, add=add)
