"""`docker exec`: create, start, resize and inspect an exec in a running container."""

from __future__ import annotations

from collections.abc import Sequence

from agent.container.host import ContainerHost
from agent.container.model import ExecConfig, ExecState, RunStatus
from agent.runtime.attach import AttachStream
from covey.errors import ConflictError, InvalidArgumentError


async def create_exec(host: ContainerHost, ref: str, config: ExecConfig) -> str:
    """Register an exec and return its id. Nothing runs yet."""
    record = host.index.find_running(ref)
    if record.state.status is RunStatus.PAUSED:
        raise ConflictError(f"Container {record.config.name} is paused, unpause the container before exec")
    if not config.args:
        raise InvalidArgumentError("No exec command specified")
    exec_id = host.execs.create(record.config.id, config)
    host.index.emit(record, f"exec_create: {' '.join(config.args)}", execID=exec_id)
    return exec_id


async def start_exec(
    host: ContainerHost, exec_id: str, *, detach: bool = False, size: tuple[int, int] | None = None
) -> AttachStream | None:
    """Run the exec and return its stream; None when detached. `size` is (height, width) of a terminal."""
    record = host.index.find_running(host.execs.inspect(exec_id).container_id)
    return await host.execs.start(exec_id, record.config, detach=detach, size=size)


async def resize_exec(host: ContainerHost, exec_id: str, height: int, width: int) -> None:
    host.execs.resize(exec_id, height, width)


def inspect_exec(host: ContainerHost, exec_id: str) -> ExecState:
    return host.execs.inspect(exec_id)


def list_execs(host: ContainerHost, ref: str) -> Sequence[str]:
    """Ids of the container's execs."""
    return host.execs.list_ids(host.index.find(ref).config.id)
