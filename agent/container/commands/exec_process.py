"""`docker exec`: create, start, resize and inspect an exec in a running container."""

from __future__ import annotations

from collections.abc import Sequence

from agent.container.host import ContainerHost
from agent.container.model import ExecConfig, ExecState, HealthProbe, RunStatus
from agent.container.record import ContainerRecord
from agent.runtime.attach import AttachStream
from covey.errors import ConflictError, InvalidArgumentError


async def create_exec(host: ContainerHost, ref: str, config: ExecConfig) -> str:
    """Register an exec and return its id. Nothing runs yet."""
    record = _find_running(host, ref, ref)
    if not config.args:
        raise InvalidArgumentError("No exec command specified")
    exec_id = host.execs.create(record.config.id, config)
    host.index.emit(record, f"exec_create: {' '.join(config.args)}", execID=exec_id)
    return exec_id


async def start_exec(
    host: ContainerHost, exec_id: str, *, detach: bool = False, size: tuple[int, int] | None = None
) -> AttachStream | None:
    """Run the exec and return its stream; None when detached. `size` is (height, width) of a terminal."""
    state = host.execs.inspect(exec_id)
    record = _find_running(host, state.container_id, state.container_id)
    size = size or state.config.console_size
    return await host.execs.start(exec_id, record.config, detach=detach, size=size)


async def resize_exec(host: ContainerHost, exec_id: str, height: int, width: int) -> None:
    host.execs.resize(exec_id, height, width)


def inspect_exec(host: ContainerHost, exec_id: str) -> ExecState:
    return host.execs.inspect(exec_id)


async def run_hook(host: ContainerHost, ref: str, config: ExecConfig, timeout_seconds: float) -> HealthProbe:
    """Runs a command in a running container to its end, or kills it after the timeout."""
    record = _find_running(host, ref, ref)
    return await host.execs.probe(record.config, config, timeout_seconds, name="The hook")


def list_execs(host: ContainerHost, ref: str) -> Sequence[str]:
    """Ids of the container's execs that have not ended."""
    return host.execs.unfinished_ids(host.index.find(ref).config.id)


def _find_running(host: ContainerHost, ref: str, shown: str) -> ContainerRecord:
    record = host.index.find_running(ref)
    if record.state.status is RunStatus.PAUSED:
        raise ConflictError(f"Container {shown} is paused, unpause the container before exec")
    if record.state.status is RunStatus.RESTARTING:
        raise ConflictError(f"Container {shown} is restarting, wait until the container is running")
    return record
