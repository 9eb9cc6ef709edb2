"""The nftables tables of a namespace: read into items, and changed in one transaction.

What the kernel would print for a wanted chain or set is learnt by loading it once into a scratch namespace, where no packet ever
passes. So a new daemon recognizes what an earlier one loaded, and a chain that anybody altered is told from one that nobody did.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Self

from agent.network.kernel.nft_commands import Command, commands
from agent.network.kernel.nft_listing import ListedChain, ListedTable, parse_table, parse_tables
from agent.network.namespace_state import NftChain, NftSet
from agent.network.netns import Namespace, anonymous_namespace
from agent.network.nftables import NftablesContext
from agent.network.plan.diff import Difference, DifferenceKind
from agent.network.plan.items import Item, Items, Value
from covey.errors import CoveyError, UnsupportedError

_REMEMBERED = 8192
_MAX_ATTEMPTS = 32

Owners = Callable[[Item], Collection[str]]


class NftScratch:
    """What the kernel prints for chains and sets, by what they are loaded from. One for all namespaces; may be used on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, ...], ListedChain | bytes] = OrderedDict()
        self._namespace: Namespace | None = None
        self._context: NftablesContext | None = None

    def learn(self, table: str, wanted: Mapping[Item, Value]) -> dict[Item, ListedChain | bytes]:
        """The listing of each chain, and the digest of each set, among the wanted items of a table.

        What the kernel refuses is missing in the result.
        """
        family = table.partition(" ")[0]
        parts = {item: value for item, value in wanted.items() if isinstance(value, NftChain | NftSet)}
        with self._lock:
            if any(_source(family, value) not in self._known for value in parts.values()):
                self._load(table, family, parts)
            for value in parts.values():
                if _source(family, value) in self._known:
                    self._known.move_to_end(_source(family, value))
            while len(self._known) > max(_REMEMBERED, len(parts)):
                self._known.popitem(last=False)
            return {
                item: self._known[_source(family, value)]
                for item, value in parts.items()
                if _source(family, value) in self._known
            }

    def close(self) -> None:
        with self._lock:
            if self._context is not None:
                self._context.close()
            if self._namespace is not None:
                self._namespace.close()
            self._context = self._namespace = None

    def _load(self, table: str, family: str, parts: Mapping[Item, NftChain | NftSet]) -> None:
        if self._context is None:
            self._namespace = anonymous_namespace()
            self._context = NftablesContext(self._namespace)
        context = self._context
        loaded = [Difference("", DifferenceKind.MISSING, ("table", table), "", None)]
        for item, value in parts.items():
            loaded.append(Difference("", DifferenceKind.MISSING, item, value, None))
        try:  # whoever loads what is refused here reports why
            refused = _carry_out(context, loaded, lambda _: ())
            if ("table", table) in refused:
                return
            listed = parse_table(context.list_json(f"list table {table}"))
        finally:
            context.run("flush ruleset")
        for item, value in parts.items():
            if item not in refused:
                found = listed.chains[item[2]] if item[0] == "chain" else listed.sets[item[2]].digest
                self._known[_source(family, value)] = found


class NftTables:
    """The tables of one namespace, for the length of one pass. Made inside the namespace."""

    def __init__(self, scratch: NftScratch) -> None:
        self._scratch = scratch
        self._context = NftablesContext()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def read(self, is_ours: Callable[[str], bool], wanted: Mapping[Item, Value]) -> Items:
        """The items of the tables of ours, or that are wanted. A chain or set that is as wanted is the wanted value itself."""
        found: Items = {}
        by_table: dict[str, Items] = {}
        for item, value in wanted.items():
            if item[0] in {"chain", "set"}:
                by_table.setdefault(item[1], {})[item] = value
        for table in sorted(parse_tables(self._context.list_json("list tables"))):
            if (is_ours(table) or ("table", table) in wanted) and (listed := self._list(table)) is not None:
                found |= self._table(table, listed, by_table.get(table, {}))
        return found

    def _list(self, table: str) -> ListedTable | None:
        """The content of a table; None if another program has removed it since the tables were listed."""
        try:
            return parse_table(self._context.list_json(f"list table {table}"))
        except UnsupportedError:
            if table in parse_tables(self._context.list_json("list tables")):
                raise
            return None

    def apply(self, differences: Sequence[Difference], owners: Owners) -> dict[Item, str]:
        """Carry out differences in one transaction. Returns the items that were not, and the kernel's reasons.

        What is refused is left out, with all that belongs to the same fragments, and the rest is carried out.
        """
        return _carry_out(self._context, differences, owners)

    def _table(self, table: str, listed: ListedTable, wanted: Items) -> Items:
        found: Items = {("table", table): ""}
        learnt = self._scratch.learn(table, wanted)
        for name, chain in listed.chains.items():
            item = ("chain", table, name)
            found[item] = self._chain(item, chain, learnt.get(item), wanted.get(item))
        for name, content in listed.sets.items():
            item = ("set", table, name)
            known = learnt.get(item) == content.digest
            found[item] = wanted[item] if known else NftSet(head="other", is_map=content.is_map)
            for key, value in content.elements.items():
                found["element", table, name, key] = value
        return found

    def _chain(self, item: Item, chain: ListedChain, learnt: ListedChain | bytes | None, wanted: Value | None) -> Value:
        if isinstance(learnt, ListedChain) and isinstance(wanted, NftChain):
            if learnt.digest == chain.digest:
                return wanted
            hook = wanted.hook if learnt.hook == chain.hook else chain.hook
        else:
            hook = chain.hook
        lines = self._context.run(f"list chain {item[1]} {item[2]}").splitlines()
        rules = tuple(line.strip() for line in lines[2:-2] if not line.strip().startswith("type "))
        return NftChain(hook=hook, rules=rules)


def _source(family: str, value: NftChain | NftSet) -> tuple[str, ...]:
    """What decides how the kernel prints a chain or the head of a set."""
    if isinstance(value, NftChain):
        return (family, "chain", value.hook, *value.rules)
    return (family, "map" if value.is_map else "set", value.head)


def _text(lines: Sequence[Command]) -> str:
    return "\n".join(command.line for command in lines) + "\n"


def _carry_out(context: NftablesContext, differences: Sequence[Difference], owners: Owners) -> dict[Item, str]:
    """Carry out differences in one transaction. What is refused is left out, with the rest of its fragments. Returns it, and why."""
    failures: dict[Item, str] = {}
    rest = list(differences)
    try:
        if lines := commands(rest):
            context.run(_text(lines))
    except CoveyError as error:
        refusal = error.message
    else:
        return failures
    for _ in range(_MAX_ATTEMPTS):
        lines = commands(rest, grouped=False)
        refused = context.locate_errors(_text(lines)) if lines else []
        if not refused:
            return failures
        refusal = refused[0][1]
        reasons = {item: reason for line, reason in refused if 0 <= line < len(lines) for item in lines[line].items}
        if not reasons:
            break
        rest = _without(rest, reasons, owners, failures)
    return failures | {one.item: refusal for one in rest}


def _without(
    differences: Sequence[Difference],
    reasons: Mapping[Item, str],
    owners: Owners,
    failures: dict[Item, str],
) -> list[Difference]:
    """The differences without the refused ones and without the rest of their fragments. Records why, in `failures`."""
    blamed: dict[str, str] = {}
    for item, reason in reasons.items():
        failures[item] = reason
        blamed |= dict.fromkeys(owners(item), reason)
    kept: list[Difference] = []
    for one in differences:
        mine = owners(one.item)
        if one.item in reasons:
            continue
        if mine and all(owner in blamed for owner in mine):
            failures[one.item] = blamed[next(iter(mine))]
        else:
            kept.append(one)
    return kept
