"""Watched stacks: validation of their specs, and requests about them as pure functions on a transaction.

Invariant: the control API never returns credentials that a URL contains.
"""

from covey.errors import InvalidArgumentError, NotFoundError, TooLargeError, UnsupportedError
from covey.git_source import repository_source, require_inside, shown_url
from covey.ids import IdSource
from covey.objects import Annotations, WatchedStack, WatchedStackSpec, WatchStatus, replace
from manager.control.name_validation import require_labels
from manager.store import Tx, View

MAX_WATCHED_STACKS = 100
MAX_TEXT_BYTES = 64 * 1024
MIN_INTERVAL_NS = 1_000_000_000
MAX_INTERVAL_NS = 7 * 24 * 3600 * 1_000_000_000
_MAX_NAME = 63


def watch_stack(tx: Tx, spec: WatchedStackSpec, new_id: IdSource) -> str:
    """Stores a watched stack, or its new spec, and asks for a deployment."""
    _require_valid(spec)
    stored = tx.watched_stacks.by_name(spec.annotations.name)
    if stored is None:
        if len(tx.watched_stacks) >= MAX_WATCHED_STACKS:
            raise TooLargeError(
                f"{MAX_WATCHED_STACKS} stacks are watched, which is the limit; stop one first with covey stack watch --stop"
            )
        stack = WatchedStack(id=new_id(), spec=spec)
        tx.create(stack)
        return stack.id
    status = WatchStatus(attempts=stored.status.attempts, answered_request=stored.status.answered_request)
    tx.update(replace(stored, spec=spec, request=stored.request + 1, status=status))
    return stored.id


def request_deployment(tx: Tx, ref: str) -> str:
    """Asks the leader to deploy a watched stack now."""
    stored = find_watched(tx, ref)
    tx.update(replace(stored, request=stored.request + 1))
    return stored.id


def unwatch_stack(tx: Tx, ref: str) -> str:
    stored = find_watched(tx, ref)
    tx.remove(WatchedStack, stored.id)
    return stored.id


def find_watched(view: View, ref: str) -> WatchedStack:
    """The watched stack of a name or id.

    Raises:
        NotFoundError: the stack is not watched.
    """
    stored = view.watched_stacks.by_name(ref) or view.watched_stacks.get(ref)
    if stored is None:
        raise NotFoundError(f"stack {ref} is not watched; watch it with covey stack watch {ref} --git URL#ref:path")
    return stored


def redact_watched_stack(stack: WatchedStack) -> WatchedStack:
    """The watched stack without credentials in its URL."""
    return replace(stack, spec=replace(stack.spec, url=shown_url(stack.spec.url)))


def _require_valid(spec: WatchedStackSpec) -> None:
    _require_name(spec.annotations)
    source = repository_source(spec.url, spec.ref, spec.path)
    if source.protocol == "file":
        raise UnsupportedError(
            "a repository on one host cannot be watched, because any manager may become the leader: serve it with https, ssh or git"
        )
    if source.is_fixed:
        raise InvalidArgumentError(
            f"{spec.ref} is a commit, which never changes: watch a branch or tag, or deploy it once with covey stack deploy --git"
        )
    for name in spec.files:
        if not name:
            raise InvalidArgumentError("the name of a Compose file is empty")
        require_inside(name)
    if not MIN_INTERVAL_NS <= spec.interval_ns <= MAX_INTERVAL_NS:
        raise InvalidArgumentError(f"interval {spec.interval_ns / 1e9:g} s is not between 1 s and 7 days")
    _require_environment(spec)


def _require_name(annotations: Annotations) -> None:
    require_labels(annotations)
    name = annotations.name
    is_plain = name[:1].isalnum() and name.isascii() and all(char.isalnum() or char in "_.-" for char in name)
    if not is_plain or len(name) > _MAX_NAME:
        raise InvalidArgumentError(f"invalid stack name: {name!r}; use at most {_MAX_NAME} letters, digits, _, . and -")


def _require_environment(spec: WatchedStackSpec) -> None:
    for key in spec.environment:
        if not key or "=" in key or "\0" in key:
            raise InvalidArgumentError(f"{key!r} is not the name of a variable")
    texts = (spec.url, spec.ref, spec.path, *spec.files, *spec.environment, *spec.environment.values())
    size = sum(len(text.encode()) for text in texts)
    if size > MAX_TEXT_BYTES:
        raise TooLargeError(f"the spec of the watched stack has {size} bytes, the limit is {MAX_TEXT_BYTES}")
