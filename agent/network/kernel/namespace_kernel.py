"""What is known of one namespace's kernel state, and the passes that read, change and compare it.

Invariant: one pass at a time, inside the namespace. Invariant: after a failure, and in a new process, the namespace is read before it
is changed; otherwise a pass costs what its touched items cost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from agent.network.kernel import link_messages
from agent.network.kernel.apply import apply
from agent.network.kernel.elsewhere import device_index
from agent.network.kernel.netlink import NetlinkSocket
from agent.network.kernel.nft_tables import Owners
from agent.network.kernel.outcome import Outcome
from agent.network.kernel.read import read_items
from agent.network.kernel.target import Target
from agent.network.plan.diff import Difference, DifferenceKind, differences
from agent.network.plan.items import Item, Items, Value
from agent.network.plan.ownership import alias_of


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The work of one pass.

    `wanted` is all that is wanted if `read`, else the wanted values of the `touched` items. `remake` names ends of veth pairs that
    are to be made again.
    """

    wanted: Mapping[Item, Value]
    touched: Collection[Item]
    owners: Owners
    read: bool
    remake: Collection[str] = ()


class NamespaceKernel:
    """`is_known` is False until the namespace was read, and again after a pass that failed half-way.

    `unrecognized` are chains and sets that the last reading found and that nobody wanted then: what they hold was compared with nothing.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._found: Items = {}
        self._aliases: dict[str, str] = {}
        self.is_known = False
        self.unrecognized: frozenset[Item] = frozenset()

    def settle(self, request: Request) -> Outcome:
        """Bring the touched items to their wanted values; all wanted items, if the request asks to read. Strays stay."""
        touched: Collection[Item] = request.touched
        if request.remake:
            self._delete(request.remake)
        if request.read:
            self._read(request.wanted, touched)
            touched = {*request.wanted, *touched}
        found = differences(self.target.key, request.wanted, self._found, only=touched)
        return self._apply(found, request)

    def compare(self, wanted: Mapping[Item, Value]) -> tuple[Difference, ...]:
        """Read the namespace. Returns how it differs from what is wanted."""
        self._read(wanted, ())
        return differences(self.target.key, wanted, self._found)

    def repair(self, request: Request, *, strays: bool) -> tuple[tuple[Difference, ...], Outcome]:
        """Read the namespace and carry out the differences, those of stray items only if `strays`."""
        found = self.compare(request.wanted)
        if not strays:
            found = tuple(one for one in found if one.kind is not DifferenceKind.STRAY)
        return found, self._apply(found, request)

    def _read(self, wanted: Mapping[Item, Value], touched: Collection[Item]) -> None:
        self.is_known = False
        interest: dict[Item, Value] = dict.fromkeys(touched, "")
        interest.update(wanted)
        self._found, aliases = read_items(self.target, interest)
        self._aliases = dict(aliases)
        self.unrecognized = frozenset(
            item for item in self._found if item[0] in {"chain", "set"} and item not in wanted
        )
        self.is_known = True

    def _apply(self, found: Sequence[Difference], request: Request) -> Outcome:
        if not found:
            return Outcome()
        self.is_known = False
        outcome = apply(self.target, found, request.wanted, owners=request.owners, aliases=self._aliases)
        for one in found:
            if one.item in outcome.failures:
                continue
            if one.wanted is None:
                self._found.pop(one.item, None)
            else:
                self._found[one.item] = one.wanted
            if one.item[0] == "set" and one.kind is DifferenceKind.ALTERED:
                self._forget_elements(one.item, request.wanted)
        for name in outcome.deleted:
            self._aliases.pop(name, None)
        for name in outcome.made:
            self._aliases[name] = alias_of(self.target.prefix)
        self.is_known = not outcome.lost_entries and (request.read or not outcome.failures)
        return outcome

    def _forget_elements(self, replaced: Item, wanted: Mapping[Item, Value]) -> None:
        """A set that was replaced has lost the elements that nobody wants."""
        for item in [item for item in self._found if item[0] == "element" and item[1:3] == replaced[1:3]]:
            if item not in wanted:
                del self._found[item]

    def _delete(self, names: Collection[str]) -> None:
        with NetlinkSocket() as netlink:
            indexes = [index for index in map(device_index, sorted(names)) if index]
            netlink.send([link_messages.delete_link(index) for index in indexes])
