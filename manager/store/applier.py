"""Application of a log entry to a view: the next view, or a refusal.

Invariant: the result depends only on the view, the log index and the entry, so every replica reaches the same one. A transaction whose
expected versions no longer hold changes nothing, on every replica alike.
"""

from __future__ import annotations

from covey.objects import Meta, Object, Service, Task, replace
from manager.store.commit import Action, Change, Commit
from manager.store.log import Proposal, ProposedChange
from manager.store.view import View


def apply(view: View, index: int, proposal: Proposal) -> tuple[View, Commit] | None:
    """The next view and its commit, or None if the transaction is refused."""
    changes = []
    after = view
    for proposed in proposal.changes:
        before = view.state(proposed.schema).objects.get(proposed.object_id)
        if not _version_matches(proposed, before):
            return None
        item = _with_meta(view, proposed, before, index, proposal.timestamp_ns)
        after = after.put(proposed.schema, proposed.object_id, item)
        changes.append(Change(proposed.action, before, item))
    if not all(_name_is_free(after, proposed) for proposed in proposal.changes):
        return None
    return after.at(index), Commit(index, tuple(changes), proposal.timestamp_ns, proposal.author)


def share_spec(service: Service | None, task: Task) -> Task:
    """The task with its service's own spec object if both are equal, so that all tasks of a service share one."""
    for spec in (service.spec, service.previous_spec) if service else ():
        if spec is not None and spec.task == task.spec:
            return replace(task, spec=spec.task)
    return task


def _version_matches(proposed: ProposedChange, before: Object | None) -> bool:
    if proposed.action is Action.CREATE:
        return before is None
    return before is not None and before.meta.version == proposed.expected_version


def _with_meta(view: View, proposed: ProposedChange, before: Object | None, index: int, now_ns: int) -> Object | None:
    if proposed.item is None:
        return None
    created = now_ns if before is None else before.meta.created_at_ns
    item = proposed.item
    if isinstance(item, Task) and isinstance(before, Task) and before.spec == item.spec:
        item = replace(item, spec=before.spec)
    elif isinstance(item, Task):
        item = share_spec(view.services.get(item.service_id), item)
    return replace(item, meta=Meta(version=index, created_at_ns=created, updated_at_ns=now_ns))


def _name_is_free(after: View, proposed: ProposedChange) -> bool:
    schema = proposed.schema
    if proposed.item is None or not schema.unique_names:
        return True
    name = schema.name(proposed.item)
    return not name or len(after.state(schema).indexes["name"][name]) == 1
