"""Entries of a commit: one for each change that people or clients ask about. Pure."""

from __future__ import annotations

from covey.objects import Author, HistoryEntry, Service, Task, replace
from covey.placeholders import task_name
from manager.history import object_entries, task_entries
from manager.history.task_entries import node_name
from manager.store.commit import Action, Change, Commit
from manager.store.view import View

TASK = "task"


def entries(view: View, commit: Commit) -> list[HistoryEntry]:
    """The entries of a commit; ``view`` is the state after it or a later one."""
    by = author_name(view, commit.author)
    found = (_entry(view, change, by) for change in commit.changes)
    return [_placed(entry, commit, number) for number, entry in enumerate(found, 1) if entry is not None]


def author_name(view: View, author: Author) -> str:
    """Who made a change, such as ``root@m1`` or ``leader (scheduler)``; empty if it is unknown."""
    if author.component:
        return "leader" if author.component == "leader" else f"leader ({author.component})"
    where = node_name(view, author.node_id) if author.node_id else ""
    if author.user:
        return f"{author.user}@{where}" if where else author.user
    return where


def _entry(view: View, change: Change, by: str) -> HistoryEntry | None:
    if isinstance(change.item, Task):
        return _task_entry(view, change, by)
    kind = object_entries.KINDS.get(type(change.item))
    if kind is None:
        return None
    item = change.item
    if change.action is Action.CREATE:
        told = object_entries.created(item)
    elif change.action is Action.REMOVE:
        told = object_entries.Told(text="removed")
    else:
        found = object_entries.updated(change.before, item)
        if found is None:
            return None
        told = found
    name = object_entries.object_name(item)
    is_service = isinstance(item, Service)
    return HistoryEntry(
        kind=kind,
        action=change.action.name.lower(),
        object_id=item.id,
        name=name,
        service_id=item.id if is_service else "",
        service_name=name if is_service else "",
        by=by,
        text=told.text,
        attributes={"name": name, **told.attributes},
    )


def _task_entry(view: View, change: Change, by: str) -> HistoryEntry | None:
    task = change.item
    assert isinstance(task, Task)  # noqa: S101 - the caller has looked
    before = change.before if isinstance(change.before, Task) else None
    found = task_entries.decision(view, before, task if change.after is not None else None)
    if found is None:
        return None
    node = node_name(view, task.node_id) if task.node_id else ""
    name, service = task_name(task), task.service_annotations.name
    attributes = {"name": name, "service": service, "node": node, "slot": str(task.slot), "reason": found.text}
    return HistoryEntry(
        kind=TASK,
        action=found.action,
        object_id=task.id,
        name=name,
        service_id=task.service_id,
        service_name=service,
        node_id=task.node_id,
        node_name=node,
        by=node if found.by_node else by,
        text=found.text,
        attributes=attributes,
    )


def _placed(entry: HistoryEntry, commit: Commit, number: int) -> HistoryEntry:
    attributes = {**entry.attributes, "covey.by": entry.by} if entry.by else entry.attributes
    return replace(
        entry, version=commit.version, number=number, timestamp_ns=commit.timestamp_ns, attributes=attributes
    )
