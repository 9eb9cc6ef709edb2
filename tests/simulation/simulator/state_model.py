"""Reference model of the replicated store: applies the same transactions to a plain map, independently of the product.

Invariant: the state at a log index is a function of the committed entries up to it. It is computed once per index, and
each manager's view is compared with it: the touched objects after each transaction, everything including the indexes
after a snapshot and at the end. Called by `raft_invariants`.
"""

from __future__ import annotations

from typing import Any

from rpds import HashTrieMap

from covey.objects import Meta, replace
from manager.store import Action, View
from manager.store.log import Proposal, decode
from manager.store.schema import SCHEMAS
from manager.store.table import TableState

Key = tuple[str, str]
State = Any
"""A `HashTrieMap` from `Key` to object; rpds has no generic types at runtime."""


class StateModel:
    """The states at all indexes, each a persistent map from (kind, id) to the object."""

    def __init__(self, index: int) -> None:
        self.states: dict[int, State] = {index: HashTrieMap()}
        self.accepted: dict[int, bool] = {}
        self.requests: dict[int, int] = {}
        self.request_at: dict[int, int] = {}
        self.touched: dict[int, tuple[Key, ...]] = {index: ()}

    def advance(self, index: int, data: bytes) -> None:
        """Applies one more committed entry; data is empty if the entry is not the store's."""
        if index in self.states:
            return
        before = self.states[index - 1]
        self.states[index], self.touched[index] = before, ()
        if not data:
            return
        proposal = decode(data)
        self.request_at[index] = proposal.request_id
        after = self._applied(before, index, proposal)
        self.accepted[index] = after is not None
        self.states[index] = before if after is None else after
        self.touched[index] = tuple((c.schema.field, c.object_id) for c in proposal.changes)
        if after is not None:
            self.requests[proposal.request_id] = self.requests.get(proposal.request_id, 0) + 1

    def _applied(self, before: State, index: int, proposal: Proposal) -> State | None:
        after = before
        for change in proposal.changes:
            key = (change.schema.field, change.object_id)
            old = before.get(key)
            if (old is None) != (change.action is Action.CREATE):
                return None
            if old is not None and old.meta.version != change.expected_version:
                return None
            if change.item is None:
                after = after.discard(key)
                continue
            born = proposal.timestamp_ns if old is None else old.meta.created_at_ns
            meta = Meta(version=index, created_at_ns=born, updated_at_ns=proposal.timestamp_ns)
            after = after.insert(key, replace(change.item, meta=meta))
        for change in proposal.changes:
            if change.item is not None and change.schema.unique_names:
                name = change.schema.name(change.item)
                holders = [k for k, v in after.items() if k[0] == change.schema.field and change.schema.name(v) == name]
                if name and len(holders) > 1:
                    return None
        return after

    def difference(self, index: int, view: View) -> str:
        """The first difference between a view and the state at an index in the objects touched there; empty if there is none."""
        state = self.states[index]
        by_field = {schema.field: schema for schema in SCHEMAS}
        for field, object_id in self.touched[index]:
            expected, found = state.get((field, object_id)), view.state(by_field[field]).objects.get(object_id)
            if expected != found:
                return f"{field} {object_id} is {found}, by the log it is {expected}"
        return ""

    def full_difference(self, index: int, view: View) -> str:
        """The differences between a whole view and the state at an index, including the indexes; empty if there are none."""
        state = self.states[index]
        found = {}
        for schema in SCHEMAS:
            table = view.state(schema)
            objects: Any = table.objects
            found.update({(schema.field, object_id): objects[object_id] for object_id in objects})
            fresh = TableState.empty(schema)
            for object_id in objects:
                fresh = fresh.put(schema, object_id, objects[object_id])
            for name, index_of in table.indexes.items():
                if not index_of == fresh.indexes[name]:  # noqa: SIM201 - of two equal maps `!=` says true, too
                    return f"the index {name} of {schema.field} does not fit its objects"
        expected = dict(state.items())
        if found == expected:
            return ""
        keys = sorted(key for key in {*found, *expected} if found.get(key) != expected.get(key))
        return f"{keys} differ from what the log makes of them"
