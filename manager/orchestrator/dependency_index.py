"""Index of the services that depend on a service, so that a change looks only at those.

Invariant: services that were removed stay in the index while they have tasks, because what they depend on ends after them. An index
that followed every change holds at least what one built from the view does. Used by the service planner.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from covey.objects import Service, Task
from covey.service_dependencies import dependency_names
from manager.store.view import View


class DependencyIndex:
    """Names and ids of services, and the ids of the services that depend on a name."""

    def __init__(self) -> None:
        self._ids: dict[str, dict[str, None]] = {}
        self._names: dict[str, str] = {}
        self._needs: dict[str, tuple[str, ...]] = {}
        self._dependants: dict[str, dict[str, None]] = {}

    @classmethod
    def from_view(cls, view: View) -> DependencyIndex:
        index = cls()
        for task in view.tasks:
            if task.service_id and view.services.get(task.service_id) is None:
                annotations = task.service_annotations
                index._put(task.service_id, annotations.name, dependency_names(annotations.labels))
        for service in view.services:
            index.observe_service(service, removed=False)
        return index

    def observe_service(self, service: Service, *, removed: bool) -> None:
        """Takes a service as it is now. A removed one keeps its place until it is forgotten."""
        if not removed:
            needs = tuple([item.service for item in service.spec.depends_on])
            self._put(service.id, service.spec.annotations.name, needs)

    def forget(self, service_id: str) -> None:
        """Drops a service that has neither an object nor tasks."""
        for name in self._needs.pop(service_id, ()):
            _discard(self._dependants, name, service_id)
        _discard(self._ids, self._names.pop(service_id, ""), service_id)

    def dependants(self, name: str) -> Collection[str]:
        """The ids of the services that depend on the one with this name."""
        return self._dependants.get(name, {})

    def dependants_of_id(self, service_id: str) -> Collection[str]:
        return self.dependants(self._names.get(service_id, ""))

    def related(self, task: Task) -> list[str]:
        """The ids of the services that depend on the task's service, and of those that it depends on."""
        return [*self.dependants_of_id(task.service_id), *self._needed(task.service_id)]

    def _needed(self, service_id: str) -> Iterable[str]:
        return [found for name in self._needs.get(service_id, ()) for found in self._ids.get(name, ())]

    def _put(self, service_id: str, name: str, needs: tuple[str, ...]) -> None:
        self._names[service_id] = name
        self._ids.setdefault(name, {})[service_id] = None
        if self._needs.get(service_id, ()) == needs:
            return
        for old in self._needs.get(service_id, ()):
            _discard(self._dependants, old, service_id)
        self._needs[service_id] = needs
        for new in needs:
            self._dependants.setdefault(new, {})[service_id] = None


def _discard(index: dict[str, dict[str, None]], key: str, value: str) -> None:
    members = index.get(key, {})
    members.pop(value, None)
    if not members:
        index.pop(key, None)
