"""Views of what would be: a view with objects set or removed that no log holds. Nothing is stored. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from covey.objects import Meta, Object, replace
from manager.store.schema import BY_KIND
from manager.store.view import View


def with_changes(view: View, changed: Iterable[Object], now_ns: int, *, removed: Iterable[Object] = ()) -> View:
    """The view in which the objects are created or replaced, at the next version, and others are gone."""
    version = view.version + 1
    for item in changed:
        schema = BY_KIND[type(item)]
        before = view.state(schema).objects.get(item.id)
        created_ns = now_ns if before is None else before.meta.created_at_ns
        view = view.put(
            schema, item.id, replace(item, meta=Meta(version=version, created_at_ns=created_ns, updated_at_ns=now_ns))
        )
    for item in removed:
        view = view.put(BY_KIND[type(item)], item.id, None)
    return view.at(version)
