"""Path of a container in the API: one of this host, or that of a task on any node of the cluster."""

from cli.client import DaemonClient, DaemonError, path_segment

_NOT_FOUND, _UNAVAILABLE = 404, 503


def container_path(daemon: DaemonClient, ref: str) -> str:
    """``/containers/REF``, or ``/tasks/REF`` if the host has no such container but the cluster has such a task.

    Raises:
        DaemonError: there is neither; or there is no such container, and this node may not look for tasks.
    """
    segment = path_segment(ref)
    try:
        daemon.get(f"/containers/{segment}/json")
    except DaemonError as error:
        if error.status != _NOT_FOUND or not _is_task(daemon, ref):
            raise
        return f"/tasks/{segment}"
    return f"/containers/{segment}"


def _is_task(daemon: DaemonClient, ref: str) -> bool:
    try:
        return any(daemon.get("/tasks", {"filters": {key: [ref]}}) for key in ("id", "name"))
    except DaemonError as error:
        if error.status != _UNAVAILABLE:
            raise
        if daemon.get("/info")["Swarm"]["LocalNodeState"] == "active":  # a worker says that it may not
            raise
        return False
