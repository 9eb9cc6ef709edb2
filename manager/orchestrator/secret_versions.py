"""Collection of earlier versions of secrets and configs: a version goes once no service and no task can need it.

Invariant: only versions that a rotation replaced are removed. A service needs the versions of its spec and of the spec that a rollback
returns to; a task needs its own until it has ended. Run by ``manager.leader``.
"""

from __future__ import annotations

from collections.abc import Iterable

from covey.objects import Config, Object, Secret, Service, Task, TaskSpec
from covey.secret_versions import is_earlier
from covey.task_predicates import has_ended
from manager.loop import KeyedPlanner, Plan, Step
from manager.store.view import View


def references(spec: TaskSpec) -> frozenset[str]:
    """The ids of the secrets and configs that a task of this spec uses."""
    container = spec.container
    return frozenset(reference.secret_id for reference in container.secrets) | frozenset(
        reference.config_id for reference in container.configs
    )


def is_needed(view: View, item: Secret | Config) -> bool:
    """Whether a service, the rollback of a service, or a task that has not ended uses the object."""
    tasks = view.tasks.by_secret(item.id) if isinstance(item, Secret) else view.tasks.by_config(item.id)
    if any(not has_ended(task) for task in tasks):
        return True
    return any(item.id in _kept_by(service) for service in view.services)


def _kept_by(service: Service) -> frozenset[str]:
    before = service.previous_spec
    return references(service.spec.task) | (references(before.task) if before is not None else frozenset())


class SecretVersionPlanner(KeyedPlanner[str]):
    """Planner of the removal of earlier versions, keyed by the id of the secret or config."""

    def all_keys(self, view: View) -> Iterable[str]:
        return [item.id for table in (view.secrets, view.configs) for item in table if _is_earlier(item)]

    def keys_of(self, before: Object | None, after: Object | None) -> Iterable[str]:
        item = after if after is not None else before
        if isinstance(item, Secret | Config):
            return (item.id,) if _is_earlier(item) else ()
        if isinstance(item, Task) and (after is None or has_ended(item)):
            return references(item.spec)
        if isinstance(before, Service):
            return _kept_by(before) - (_kept_by(after) if isinstance(after, Service) else frozenset())
        return ()

    def plan_key(self, view: View, key: str, now_ns: int) -> Plan:  # noqa: ARG002 - nothing here is timed
        item = view.secrets.get(key) or view.configs.get(key)
        if item is None or not _is_earlier(item) or is_needed(view, item):
            return Plan()
        return Plan((Step(removes=(item,)),))


def _is_earlier(item: Secret | Config) -> bool:
    return is_earlier(item.spec.annotations.name)
