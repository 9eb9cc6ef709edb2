"""Watched stacks: stacks that the managers deploy again whenever their file in a Git repository changes."""

from covey.objects.base import Annotations, Meta, Struct

MINUTE_NS = 60_000_000_000


class WatchedStackSpec(Struct, frozen=True, kw_only=True):
    """The name is the stack's. ``ref`` is a branch or tag, empty for the default branch. ``files`` are Compose files below ``path``;
    without any, ``path`` is the file, or a directory with a file of a usual name. The files are interpolated with ``environment``.
    """

    annotations: Annotations = Annotations()
    url: str = ""
    ref: str = ""
    path: str = ""
    files: tuple[str, ...] = ()
    interval_ns: int = MINUTE_NS
    prune: bool = False
    environment: dict[str, str] = {}


class WatchStatus(Struct, frozen=True, kw_only=True):
    """What the managers found and did, written by the leader alone.

    ``seen_commit`` is what the repository answered at ``checked_at_ns``, ``deployed_commit`` the last one deployed without an error.
    ``attempts`` counts deployments that began; ``attempted_commit`` is that of the last one, and ``deploying`` says that it has not ended.
    ``check_error`` and ``deploy_error`` belong to the last check and the last deployment; the counters beside them are failures in a row.
    ``answered_request`` is the last ``WatchedStack.request`` for which a deployment ended. ``deployed_specs`` are digests of the specs of
    the stack's services after that deployment, by name.
    """

    seen_commit: str = ""
    checked_at_ns: int = 0
    next_check_at_ns: int = 0
    check_error: str = ""
    check_failures: int = 0
    attempts: int = 0
    attempted_commit: str = ""
    attempted_at_ns: int = 0
    deploying: bool = False
    retry_at_ns: int = 0
    deploy_error: str = ""
    deploy_failures: int = 0
    deployed_commit: str = ""
    deployed_at_ns: int = 0
    answered_request: int = 0
    deployed_specs: dict[str, str] = {}


class WatchedStack(Struct, frozen=True, kw_only=True):
    """``request`` counts deployments that people asked for. A change of the spec is one of them."""

    id: str
    meta: Meta = Meta()
    spec: WatchedStackSpec = WatchedStackSpec()
    status: WatchStatus = WatchStatus()
    request: int = 1
