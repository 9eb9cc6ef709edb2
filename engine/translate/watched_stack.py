"""Watched stacks as JSON: their spec as clients give it, and what the managers found and did."""

from typing import Any

from covey.objects import Annotations, WatchedStack, WatchedStackSpec, WatchStatus
from engine.translate.base import ANNOTATIONS
from engine.translate.field_table import COUNT_OR_DEFAULT, FLAG, TEXT, TEXT_MAP, TEXTS, FieldTable, Inline, Row
from engine.translate.times import rfc3339

SPEC = FieldTable(
    WatchedStackSpec,
    (
        Inline(field="annotations", table=ANNOTATIONS),
        Row(key="URL", field="url", codec=TEXT, required="{path} is required: give the URL of a Git repository"),
        Row(key="Ref", field="ref", codec=TEXT, always=True),
        Row(key="Path", field="path", codec=TEXT, always=True),
        Row(key="Files", field="files", codec=TEXTS, always=True),
        Row(key="Interval", field="interval_ns", codec=COUNT_OR_DEFAULT),
        Row(key="Prune", field="prune", codec=FLAG, always=True),
        Row(key="Environment", field="environment", codec=TEXT_MAP),
    ),
)


def read_watched_stack(name: str, body: Any) -> WatchedStackSpec:
    """The spec of a stack whose name is in the path."""
    spec = SPEC.from_json(body)
    labels = spec.annotations.labels
    return WatchedStackSpec(
        annotations=Annotations(name=name, labels=labels),
        url=spec.url,
        ref=spec.ref,
        path=spec.path,
        files=spec.files,
        interval_ns=spec.interval_ns,
        prune=spec.prune,
        environment=spec.environment,
    )


def write_watched_stack(stack: WatchedStack, changed: tuple[str, ...], removed: tuple[str, ...]) -> dict[str, Any]:
    """``changed`` and ``removed`` are services that are not as the last deployment left them."""
    return {
        "ID": stack.id,
        "Version": {"Index": stack.meta.version},
        "CreatedAt": rfc3339(stack.meta.created_at_ns),
        "UpdatedAt": rfc3339(stack.meta.updated_at_ns),
        "Spec": SPEC.write(stack.spec),
        "Request": stack.request,
        "Status": _status(stack.status),
        "Drift": {"Changed": list(changed), "Removed": list(removed)},
    }


def _status(status: WatchStatus) -> dict[str, Any]:
    return {
        "SeenCommit": status.seen_commit,
        "CheckedAt": _moment(status.checked_at_ns),
        "NextCheckAt": _moment(status.next_check_at_ns),
        "CheckError": status.check_error,
        "CheckFailures": status.check_failures,
        "Attempts": status.attempts,
        "AttemptedCommit": status.attempted_commit,
        "AttemptedAt": _moment(status.attempted_at_ns),
        "Deploying": status.deploying,
        "RetryAt": _moment(status.retry_at_ns),
        "DeployError": status.deploy_error,
        "DeployFailures": status.deploy_failures,
        "DeployedCommit": status.deployed_commit,
        "DeployedAt": _moment(status.deployed_at_ns),
        "AnsweredRequest": status.answered_request,
    }


def _moment(time_ns: int) -> str:
    """A time, empty for never."""
    return rfc3339(time_ns) if time_ns else ""
