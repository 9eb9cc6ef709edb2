"""Filters of the list of containers and of prune."""

import pytest

from agent.container.model import (
    Container,
    ContainerConfig,
    ContainerHealth,
    ContainerMount,
    ContainerState,
    EndpointSettings,
    HealthStatus,
    MountKind,
    NetworkRequest,
    PortBinding,
    RunStatus,
)
from agent.local_network.model import predefined_id
from covey.clock import SECOND
from covey.errors import InvalidArgumentError, NotFoundError
from engine.translate.container_filters import ContainerFilter, matches_prune

HOUR = 3600 * SECOND
NOW = 100 * HOUR


def container(name: str, status: RunStatus = RunStatus.EXITED, *, at: int = 1, **changes: object) -> Container:
    state = {key: changes.pop(key) for key in ("exit_code", "health") if key in changes}
    config = {"id": name[0] * 64, "name": name, "image": "busybox:1", "image_id": "sha256:b", "args": ("x",), **changes}
    return Container(
        ContainerConfig(**config, created_at_ns=NOW - at * HOUR),  # type: ignore[arg-type]
        ContainerState(status=status, start_count=int(status is not RunStatus.CREATED), **state),  # type: ignore[arg-type]
    )


WEB = container(
    "web-front", RunStatus.RUNNING, at=3, labels={"tier": "front", "x": "1"}, health=ContainerHealth(HealthStatus.HEALTHY),
    mounts=(ContainerMount(kind=MountKind.VOLUME, source="data", target="/srv"),), exposed_ports=("80/tcp", "53/udp"),
    networks=(EndpointSettings(name="back", network_id="n" * 25),),
    port_bindings={"8080/tcp": (PortBinding(host_port="80"),)},
)  # fmt: skip
DB = container("db", exit_code=3, at=2, network_mode="bridge", requested_networks=(NetworkRequest(network="bridge"),))
JOB = container("job", at=1, task_id="t", image="other", image_id="sha256:o", network_mode="none")
NEW = container("new", RunStatus.CREATED, at=0, network_mode="host")
ALL = (WEB, DB, JOB, NEW)


def names(**active: str | tuple[str, ...]) -> list[str]:
    given = {key.replace("_", "-"): (value,) if isinstance(value, str) else value for key, value in active.items()}
    found = ContainerFilter(given, ALL, {"busybox": "sha256:b"} if "ancestor" in given else {}, "engine")
    return [item.name for item in ALL if found.matches(item)]


@pytest.mark.parametrize(
    ("active", "matching"),
    [
        ({}, ["web-front", "db", "job", "new"]),
        ({"name": "front"}, ["web-front"]),
        ({"name": "^/db$"}, ["db"]),
        ({"name": "^d.$"}, ["db"]),
        ({"name": ("^w", "^n")}, ["web-front", "new"]),
        ({"name": "[broken"}, []),
        ({"id": "^ddd"}, ["db"]),
        ({"label": "tier"}, ["web-front"]),
        ({"label": ("tier=front", "x=2")}, []),
        ({"status": ("created", "running")}, ["web-front", "new"]),
        ({"health": "healthy"}, ["web-front"]),
        ({"health": "none"}, ["db", "job", "new"]),
        ({"exited": "3"}, ["db"]),
        ({"exited": "0"}, ["job"]),
        ({"is_task": "true"}, ["job"]),
        ({"is_task": "0"}, ["web-front", "db", "new"]),
        ({"before": "db"}, ["web-front"]),
        ({"since": "d" * 12}, ["job", "new"]),
        ({"ancestor": "busybox"}, ["web-front", "db", "new"]),
        ({"network": "back"}, ["web-front"]),
        ({"network": "n" * 12}, ["web-front"]),
        ({"network": ("bridge", "host")}, ["db", "new"]),
        ({"network": predefined_id("bridge", "engine")[:12]}, ["db"]),
        ({"volume": "data"}, ["web-front"]),
        ({"volume": "/srv/"}, ["web-front"]),
        ({"volume": "/sr"}, []),
        ({"publish": "8080"}, ["web-front"]),
        ({"publish": "80"}, []),
        ({"expose": "80"}, ["web-front"]),
        ({"expose": "50-60/udp"}, ["web-front"]),
        ({"expose": "50-60"}, []),
    ],
)
def test_a_filter_selects(active: dict[str, str | tuple[str, ...]], matching: list[str]):
    assert names(**active) == matching


@pytest.mark.parametrize(
    ("active", "message"),
    [
        ({"status": "zz"}, "invalid filter 'status=zz'"),
        ({"health": "zz"}, "Unrecognised filter value for health: zz"),
        ({"exited": "zz"}, "invalid filter 'exited=zz'"),
        ({"is_task": "zz"}, "invalid filter 'is-task"),
        ({"publish": "zz"}, "error while looking up for publish zz"),
        ({"expose": "99999"}, "error while looking up for expose 99999"),
        ({"expose": "20-10"}, "error while looking up for expose 20-10"),
    ],
)
def test_a_bad_value_is_refused_by_name(active: dict[str, str], message: str):
    with pytest.raises(InvalidArgumentError, match=message):
        names(**active)


def test_a_container_that_is_not_there_has_no_age():
    with pytest.raises(NotFoundError, match="No such container: nobody"):
        names(before="nobody")


@pytest.mark.parametrize(
    ("active", "pruned"),
    [
        ({}, ["db", "new"]),
        ({"until": ("90m",)}, ["db"]),
        ({"label": ("tier",)}, []),
        ({"label!": ("tier",)}, ["db", "new"]),
    ],
)
def test_prune_removes_stopped_containers_of_no_task(active: dict[str, tuple[str, ...]], pruned: list[str]):
    assert [item.name for item in ALL if matches_prune(active, item, NOW)] == pruned
