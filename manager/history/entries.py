"""Entries of a commit: one for each change that people or clients ask about. Pure."""

from __future__ import annotations

import msgspec

from covey.objects import Author, HistoryEntry, Service, Task
from covey.placeholders import task_name
from manager.history import object_entries, task_entries
from manager.history.task_entries import node_name
from manager.store.commit import Action, Change, Commit
from manager.store.view import View

TASK = "task"


class _Place(msgspec.Struct, frozen=True):
    """The commit of a change, its number in it, and the name of the author."""

    view: View
    commit: Commit
    number: int
    by: str


def entries(view: View, commit: Commit) -> list[HistoryEntry]:
    """The entries of a commit; ``view`` is the state after it or a later one."""
    by = author_name(view, commit.author)
    found = (_entry(_Place(view, commit, number, by), change) for number, change in enumerate(commit.changes, 1))
    return [entry for entry in found if entry is not None]


def author_name(view: View, author: Author) -> str:
    """Who made a change, such as ``root@m1`` or ``leader (scheduler)``; empty if it is unknown."""
    if author.component:
        return "leader" if author.component == "leader" else f"leader ({author.component})"
    where = node_name(view, author.node_id) if author.node_id else ""
    if author.user:
        return f"{author.user}@{where}" if where else author.user
    return where


def _entry(place: _Place, change: Change) -> HistoryEntry | None:
    item = change.item
    if isinstance(item, Task):
        return _task_entry(place, change, item)
    kind = object_entries.KINDS.get(type(item))
    told = _told(change)
    if kind is None or told is None:
        return None
    name = object_entries.object_name(item)
    is_service = isinstance(item, Service)
    return HistoryEntry(
        version=place.commit.version,
        number=place.number,
        timestamp_ns=place.commit.timestamp_ns,
        kind=kind,
        action=change.action.name.lower(),
        object_id=item.id,
        name=name,
        service_id=item.id if is_service else "",
        service_name=name if is_service else "",
        by=place.by,
        text=told.text,
        attributes={"name": name, **told.attributes, **_by(place.by)},
    )


def _told(change: Change) -> object_entries.Told | None:
    if change.action is Action.CREATE:
        return object_entries.created(change.item)
    if change.action is Action.REMOVE:
        return object_entries.Told(text="removed")
    return object_entries.updated(change.before, change.item)


def _task_entry(place: _Place, change: Change, task: Task) -> HistoryEntry | None:
    before = change.before if isinstance(change.before, Task) else None
    found = task_entries.decision(place.view, before, task if change.after is not None else None)
    if found is None:
        return None
    node = node_name(place.view, task.node_id) if task.node_id else ""
    by = node if found.by_node else place.by
    name, service = task_name(task), task.service_annotations.name
    told = {"name": name, "service": service, "node": node, "slot": str(task.slot), "reason": found.text}
    return HistoryEntry(
        version=place.commit.version,
        number=place.number,
        timestamp_ns=place.commit.timestamp_ns,
        kind=TASK,
        action=found.action,
        object_id=task.id,
        name=name,
        service_id=task.service_id,
        service_name=service,
        node_id=task.node_id,
        node_name=node,
        by=by,
        text=found.text,
        attributes={**told, **_by(by)},
    )


def _by(name: str) -> dict[str, str]:
    return {"covey.by": name} if name else {}
