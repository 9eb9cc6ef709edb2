"""`docker attach`, and the resizing of a container's terminal."""

from __future__ import annotations

import contextlib

from agent.container.host import ContainerHost
from agent.runtime import attach, conmon
from agent.runtime.attach import AttachStream
from covey.errors import ConflictError, NotFoundError

_PENDING_LIMIT = 64


async def attach_container(host: ContainerHost, ref: str) -> AttachStream:
    """The container's stdin, stdout and stderr. If it does not run yet, the stream connects when it starts."""
    record = host.index.find(ref)
    stream = AttachStream(record.wait_for_exit)
    if record.state.running:
        try:
            stream.set_socket(await attach.connect_attach(host.paths.bundle(record.config.id)))
        except OSError:
            raise ConflictError(f"container {record.config.name} has just exited: start it again") from None
    elif len(record.pending_attaches) >= _PENDING_LIMIT:
        raise ConflictError(
            f"{_PENDING_LIMIT} clients are already attached to container {record.config.name}, which has not started: "
            "start it first"
        )
    else:
        record.pending_attaches.append(stream)
    host.index.emit(record, "attach")
    return stream


def note_detach(host: ContainerHost, ref: str, exec_id: str = "") -> None:
    """Emit the event of a client that detached from a container or an exec, unless the container has gone."""
    with contextlib.suppress(NotFoundError):
        record = host.index.find(ref)
        if exec_id:
            host.index.emit(record, "exec_detach", execID=exec_id)
        else:
            host.index.emit(record, "detach")


async def resize_terminal(host: ContainerHost, ref: str, height: int, width: int) -> None:
    record = host.index.find_running(ref)
    conmon.resize(host.paths.bundle(record.config.id), height, width)
    host.index.emit(record, "resize", height=str(height), width=str(width))
