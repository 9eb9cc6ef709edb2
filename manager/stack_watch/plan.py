"""Decisions about watched stacks: when to ask the repository, whether to deploy, how failures slow both down. Pure.

Invariant: a stack is never checked more often than its interval, unless somebody asks. A commit is deployed once, unless that failed, was
interrupted, or somebody asks for it.
"""

import hashlib
from collections.abc import Mapping

import msgspec

from covey.objects import Service, WatchedStack, WatchStatus, replace
from manager.store.view import View

MAX_BACKOFF_NS = 3600 * 1_000_000_000
MAX_ERROR = 1000
_NAMESPACE_LABEL = "com.docker.stack.namespace"
_DIGEST_LENGTH = 16
_MAX_DOUBLINGS = 20


class Drift(msgspec.Struct, frozen=True):
    """Services that are not as the last deployment left them, by name."""

    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def is_due(stack: WatchedStack, now_ns: int) -> bool:
    """Whether to ask the repository now. A clock that went back does not delay it. For a stack whose visit is not running here: a
    deployment that did not end was interrupted.
    """
    status = stack.status
    if stack.request != status.answered_request or (status.deploying and not status.check_error):
        return True
    return not status.checked_at_ns <= now_ns < status.next_check_at_ns


def after_check(stack: WatchedStack, commit: str, now_ns: int) -> tuple[WatchStatus, bool]:
    """The status after the repository answered with a commit, and whether to deploy it."""
    status = replace(
        stack.status,
        seen_commit=commit,
        checked_at_ns=now_ns,
        next_check_at_ns=now_ns + stack.spec.interval_ns,
        check_error="",
        check_failures=0,
    )
    if status.deploying or stack.request != status.answered_request:
        return status, True
    if status.deploy_error and commit == status.attempted_commit:
        return status, now_ns >= status.retry_at_ns
    return status, bool(status.deploy_error) or commit != status.deployed_commit


def after_failed_check(stack: WatchedStack, error: str, now_ns: int) -> WatchStatus:
    """The status after the repository did not answer. A deployment that was asked for is answered with the error."""
    failures = stack.status.check_failures + 1
    return replace(
        stack.status,
        checked_at_ns=now_ns,
        next_check_at_ns=now_ns + backoff_ns(stack.spec.interval_ns, failures),
        check_error=shortened(error),
        check_failures=failures,
        answered_request=stack.request,
    )


def begun(status: WatchStatus, commit: str, now_ns: int) -> WatchStatus:
    """The status while a commit is deployed."""
    return replace(
        status, attempts=status.attempts + 1, attempted_commit=commit, attempted_at_ns=now_ns, deploying=True
    )


def deployed(status: WatchStatus, commit: str, request: int, specs: Mapping[str, str], now_ns: int) -> WatchStatus:
    """The status after a commit was deployed for a request. ``specs`` are digests of the stack's services."""
    return replace(
        status,
        deploying=False,
        answered_request=request,
        attempted_commit=commit,
        deploy_error="",
        deploy_failures=0,
        retry_at_ns=0,
        deployed_commit=commit,
        deployed_at_ns=now_ns,
        deployed_specs=dict(specs),
    )


def failed(status: WatchStatus, error: str, request: int, interval_ns: int, now_ns: int) -> WatchStatus:
    """The status after a deployment failed. It is repeated later, because the reason may have been the cluster's."""
    failures = status.deploy_failures + 1
    return replace(
        status,
        deploying=False,
        answered_request=request,
        deploy_error=shortened(error),
        deploy_failures=failures,
        retry_at_ns=now_ns + backoff_ns(interval_ns, failures),
    )


def backoff_ns(interval_ns: int, failures: int) -> int:
    """The pause after a number of failures in a row: the interval, doubled up to an hour, never less than the interval."""
    doubled = interval_ns << min(max(failures - 1, 0), _MAX_DOUBLINGS)
    return max(interval_ns, min(doubled, MAX_BACKOFF_NS))


def shortened(error: str) -> str:
    """An error as one printable line of limited length."""
    line = "".join(char if char.isprintable() else " " for char in error).strip()
    return line if len(line) <= MAX_ERROR else f"{line[: MAX_ERROR - 1]}…"


def spec_digests(view: View, stack: str) -> dict[str, str]:
    """Digests of the specs of a stack's services, by name. The counter of forced updates does not count: managers raise it too."""
    return {service.spec.annotations.name: _digest(service) for service in view.services if _is_of(service, stack)}


def drift(view: View, stack: WatchedStack) -> Drift:
    """What people or a rollback changed since the stack was deployed; nothing before the first deployment and during one."""
    wanted = stack.status.deployed_specs
    if stack.status.deploying:
        return Drift()
    found = {name: service for name in wanted if (service := view.services.by_name(name)) is not None}
    return Drift(
        changed=tuple(sorted(name for name, service in found.items() if _digest(service) != wanted[name])),
        removed=tuple(sorted(wanted.keys() - found.keys())),
    )


def _is_of(service: Service, stack: str) -> bool:
    return service.spec.annotations.labels.get(_NAMESPACE_LABEL) == stack


def _digest(service: Service) -> str:
    spec = replace(service.spec, task=replace(service.spec.task, force_update=0))
    return hashlib.sha256(msgspec.json.encode(spec, order="deterministic")).hexdigest()[:_DIGEST_LENGTH]
