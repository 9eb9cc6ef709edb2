"""Services and tasks in the store of a daemon of the API tests."""

from covey.objects import ContainerStatus, Service, Task, TaskStatus
from covey.states import TaskState
from tests.support.api_daemon import Daemon


async def add_task(daemon: Daemon, service: Service, slot: int, **changes: object) -> Task:
    defaults: dict[str, object] = {
        "id": f"task{slot}".ljust(25, "x"),
        "service_id": service.id,
        "slot": slot,
        "node_id": daemon.node.node_id,
        "spec": service.spec.task,
        "spec_version": service.spec_version,
        "service_annotations": service.spec.annotations,
        "status": TaskStatus(
            state=TaskState.RUNNING, message="started", container=ContainerStatus(container_id="c" * 64, pid=7)
        ),
        "desired_state": TaskState.RUNNING,
    }
    task = Task(**{**defaults, **changes})
    await daemon.store.update(lambda tx: tx.create(task))
    return task


async def create(daemon: Daemon, *flags: str) -> Service:
    out, _ = await daemon.docker("service", "create", "--detach", "--no-resolve-image", *flags, "busybox", "sleep", "9")
    return daemon.store.view().services.get(out.strip())
