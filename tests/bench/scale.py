"""Benchmark of a store with 100,000 tasks on 1,000 nodes: memory, snapshot time and size, and the time of ``view()``.

By itself: ``python -m tests.bench.scale`` prints one JSON object.
"""

import gc
import json
import subprocess
import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import manager.main  # noqa: F401 - a manager process has these modules in memory, too
from covey.objects import (
    Annotations,
    ContainerSpec,
    ContainerStatus,
    EngineDescription,
    NetworkAttachment,
    NetworkAttachmentConfig,
    Node,
    NodeDescription,
    NodeSpec,
    NodeStatus,
    Object,
    Platform,
    Resources,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskStatus,
)
from covey.states import NodeState, TaskState
from manager.store import MemoryConsensus, Store, applier, log, snapshot
from manager.store.commit import Action, Change
from manager.store.view import View
from tests.bench.figures import Figure, Target

T = TypeVar("T")

TASKS = 100_000
NODES = 1_000
SERVICES = 200
_NETWORK = "network" + "0" * 18
_SECONDS = 300.0
_CHUNK = 128


def scale(rounds: int) -> list[Figure]:
    """Each round runs in a new process, so that earlier rounds do not affect it."""
    results = []
    for _ in range(rounds):
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.scale"], capture_output=True, text=True, timeout=_SECONDS, check=True
        )
        results.append(json.loads(done.stdout))
    size = f"{TASKS:,} tasks, {NODES:,} nodes"

    def figure(title: str, unit: str, key: str, target: Target | None = None) -> Figure:
        return Figure(f"{size}: {title}", unit, tuple(one[key] for one in results), target)

    return [
        figure("memory of the process", "MiB", "rss_mib", Target(400)),
        figure("snapshot written", "s", "encode_seconds"),
        figure("snapshot read", "s", "decode_seconds"),
        figure("snapshot's size", "MiB", "snapshot_mib"),
        figure("view()", "µs", "view_us", Target(5)),
    ]


def _objects() -> list[Object]:
    """Objects of a busy cluster: tasks with an address, a node, a container and a status."""
    nodes = [_node(number) for number in range(NODES)]
    services = [_service(number) for number in range(SERVICES)]
    tasks = [_task(number, services[number % SERVICES], nodes[number % NODES].id) for number in range(TASKS)]
    return [*nodes, *services, *tasks]


def _id(kind: str, number: int) -> str:
    return f"{kind}{number:0{25 - len(kind)}d}"


def _node(number: int) -> Node:
    description = NodeDescription(
        hostname=f"host-{number}",
        platform=Platform(architecture="x86_64", os="linux"),
        resources=Resources(nano_cpus=8_000_000_000, memory_bytes=32 << 30),
        engine=EngineDescription(version="28.0", labels={"rack": str(number % 40)}),
    )
    spec = NodeSpec(annotations=Annotations(labels={"zone": str(number % 3)}))
    status = NodeStatus(state=NodeState.READY, addr=f"10.1.{number // 250}.{number % 250 + 1}")
    return Node(id=_id("node", number), spec=spec, description=description, status=status)


def _service(number: int) -> Service:
    container = ContainerSpec(image="registry:5000/shop/web:1.4.2", env=("MODE=production", f"SERVICE={number}"))
    task = TaskSpec(container=container, networks=(NetworkAttachmentConfig(target=_NETWORK),))
    spec = ServiceSpec(annotations=Annotations(name=f"service-{number}"), task=task, replicas=TASKS // SERVICES)
    return Service(id=_id("service", number), spec=spec)


def _task(number: int, service: Service, node_id: str) -> Task:
    container = ContainerStatus(container_id=f"{number:064x}", pid=number + 300)
    return Task(
        id=_id("task", number),
        spec=service.spec.task,
        service_id=service.id,
        slot=number // SERVICES + 1,
        node_id=node_id,
        annotations=Annotations(name=f"service-{number % SERVICES}.{number // SERVICES + 1}.{_id('task', number)}"),
        service_annotations=service.spec.annotations,
        status=TaskStatus(
            timestamp_ns=1_700_000_000_000_000_000 + number,
            state=TaskState.RUNNING,
            message="started",
            container=container,
        ),
        desired_state=TaskState.RUNNING,
        networks=(
            NetworkAttachment(network_id=_NETWORK, address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/8"),
        ),
    )


def _filled_view() -> View:
    """View filled through the log, so that its objects are decoded from bytes as in a manager."""
    view, items = View.empty(), _objects()
    for start in range(0, len(items), _CHUNK):
        changes = [Change(Action.CREATE, None, item) for item in items[start : start + _CHUNK]]
        entry = log.encode(start + 1, changes, 1_700_000_000_000_000_000)
        applied = applier.apply(view, start + 1, log.decode(entry))
        if applied is None:
            raise ValueError("the store refused an object")
        view = applied[0]
    return view


def _resident_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError("/proc/self/status has no VmRSS")


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def main() -> None:
    store = Store(MemoryConsensus)
    store._view = _filled_view()
    gc.collect()
    rss = _resident_mib()
    encode_seconds, data = _timed(lambda: snapshot.encode(store.view(), ()))
    decode_seconds, _ = _timed(lambda: snapshot.decode(1, data))
    views = 100_000
    figures = {
        "rss_mib": rss,
        "encode_seconds": encode_seconds,
        "decode_seconds": decode_seconds,
        "snapshot_mib": len(data) / (1 << 20),
        "view_us": timeit.timeit(store.view, number=views) / views * 1e6,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
