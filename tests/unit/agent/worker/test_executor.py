"""The executor over a host in memory: what it creates for a task, what it observes, and that each step can be repeated."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.container.model import ContainerHealth, HealthStatus, RunStatus
from agent.container.recovery import START_INTERRUPTED
from agent.endpoint.container_networks import RESOLVER_ADDRESS, EndpointOwner
from agent.endpoint.local_endpoints import LocalEndpoints
from agent.secret.store import SecretStore
from agent.task.state_machine import ContainerPhase, Observation, TaskRecord
from agent.worker.executor import Executor
from covey.errors import NotFoundError
from covey.objects import (
    Annotations,
    ContainerSpec,
    DNSConfig,
    Driver,
    Network,
    NetworkAttachment,
    NetworkAttachmentConfig,
    NetworkSpec,
    Secret,
    SecretReference,
    SecretSpec,
    Task,
    TaskSpec,
    TaskStatus,
)
from covey.placeholders import NodeFacts
from covey.states import TaskState
from tests.support.fake_host import FakeContainers, FakeImages, FakeNetworks
from tests.support.local_networks import RecordedFragments, open_local

CONTAINER = "c" * 64


class Parts:
    """An executor with its neighbours."""

    def __init__(self, run: Path, local: LocalEndpoints, networks: FakeNetworks, fragments: RecordedFragments) -> None:
        self.fragments = fragments
        self.containers, self.networks, self.secrets = FakeContainers(), networks, SecretStore(run)
        self.secrets.open()
        self.endpoints = EndpointOwner(networks, local, lambda: ("9.9.9.9",))
        self.executor = Executor(
            containers=self.containers, images=FakeImages(), endpoints=self.endpoints, secrets=self.secrets,
            node=lambda: NodeFacts(id="n" * 25, hostname="host-1"), clock=lambda: 7,
        )  # fmt: skip
        self.endpoints.set_networks(
            (network("front"), network("back"), network("inside", internal=True), network("host", driver="host"))
        )


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    networks, fragments = FakeNetworks(), RecordedFragments()
    local = await open_local(tmp_path, networks, fragments)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as run:
        yield Parts(Path(run), local, networks, fragments)
    local.networks.close()


def network(name: str, *, driver: str = "overlay", internal: bool = False) -> Network:
    spec = NetworkSpec(annotations=Annotations(name=f"name-{name}"), driver=Driver(name=driver), internal=internal)
    return Network(id=name, vni=4097, spec=spec)


def record(*networks: str, state: TaskState = TaskState.PREPARING, **spec: object) -> TaskRecord:
    task = Task(
        id="t" * 25,
        spec=TaskSpec(
            container=ContainerSpec(**({"image": "busybox"} | spec)),  # type: ignore[arg-type]
            networks=tuple(NetworkAttachmentConfig(target=key) for key in networks),
        ),
        service_annotations=Annotations(name="web"),
        slot=1,
        networks=tuple(NetworkAttachment(network_id=key, address=f"10.0.{at}.5/24") for at, key in enumerate(networks)),
    )
    return TaskRecord(task=task, status=TaskStatus(state=state), container_id=CONTAINER)


SECRET = SecretReference(secret_id="key", secret_name="key")


async def test_a_task_on_networks_gets_an_interface_on_each_and_a_way_out_last(parts: Parts) -> None:
    await parts.executor.prepare(record("front", "back", dns=DNSConfig(nameservers=("9.9.9.9",))))
    assert parts.networks.calls == [
        ("create", CONTAINER, ("9.9.9.9",)),
        ("attach", CONTAINER, "front", "eth0"),
        ("attach", CONTAINER, "back", "eth1"),
    ]
    config = parts.containers.get(CONTAINER).config
    assert config.netns_path == f"/run/netns/{CONTAINER}"
    assert (config.resolver, config.dns) == (RESOLVER_ADDRESS, ("9.9.9.9",))
    assert [(each.name, each.ip, each.prefix) for each in config.networks] == [
        ("name-front", "10.0.0.5", 24),
        ("name-back", "10.0.1.5", 24),
        ("docker_gwbridge", "172.18.0.2", 16),
    ]


async def test_a_task_on_an_internal_network_alone_gets_no_way_out(parts: Parts) -> None:
    await parts.executor.prepare(record("inside"))
    assert [call[0] for call in parts.networks.calls] == ["create", "attach"]
    assert not any("endpoint" in key for key in parts.fragments.wanted)


async def test_a_task_on_the_hosts_network_gets_no_namespace(parts: Parts) -> None:
    await parts.executor.prepare(record("host", hostname="db"))
    assert parts.networks.calls == []
    config = parts.containers.get(CONTAINER).config
    assert (config.netns_path, config.hostname) == ("host", "db")


async def test_preparing_again_replaces_what_an_interrupted_attempt_left(parts: Parts) -> None:
    await parts.executor.prepare(record())
    parts.containers.change(CONTAINER, status=RunStatus.EXITED, exit_code=1)
    await parts.executor.prepare(record())
    assert parts.executor.observe(record()).phase is ContainerPhase.CREATED
    assert parts.networks.sandboxes == {CONTAINER}


async def test_a_missing_image_fails_before_anything_is_made(parts: Parts) -> None:
    with pytest.raises(NotFoundError, match="No such image: other"):
        await parts.executor.prepare(record(image="other"))
    assert parts.networks.sandboxes == set()


async def test_a_network_that_is_not_assigned_is_named_and_nothing_is_created(parts: Parts) -> None:
    with pytest.raises(NotFoundError, match="network nowhere not found"):
        await parts.executor.prepare(record("nowhere"))
    assert (parts.networks.calls, parts.containers.list()) == ([], [])


async def test_release_frees_namespace_and_secrets_and_keeps_the_container_until_remove(parts: Parts) -> None:
    parts.secrets.put(Secret(id="key", spec=SecretSpec(data=b"1")))
    one = record(secrets=(SECRET,))
    await parts.executor.prepare(one)
    path = Path(parts.containers.get(CONTAINER).config.secrets[0].source_path)
    assert path.read_bytes() == b"1"
    await parts.executor.release(one)
    assert (parts.networks.sandboxes, path.exists()) == (set(), False)
    assert parts.executor.container(one) is not None
    for _ in range(2):
        await parts.executor.remove(one)
        assert parts.executor.container(one) is None


async def test_a_secret_is_waited_for_only_before_the_first_complete_set(parts: Parts) -> None:
    assert parts.executor.observe(record(secrets=(SECRET,))).waits_for == "secret key"
    parts.executor.has_complete_set = True
    assert parts.executor.observe(record(secrets=(SECRET,))) == Observation()
    with pytest.raises(NotFoundError, match="secret key"):
        await parts.executor.prepare(record(secrets=(SECRET,)))


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ({}, ContainerPhase.CREATED),
        ({"error": START_INTERRUPTED}, ContainerPhase.CREATED),
        ({"error": "exec format error"}, ContainerPhase.EXITED),
        ({"status": RunStatus.RUNNING}, ContainerPhase.RUNNING),
        ({"status": RunStatus.PAUSED}, ContainerPhase.RUNNING),
        ({"status": RunStatus.EXITED, "exit_code": 1}, ContainerPhase.EXITED),
        ({"status": RunStatus.DEAD}, ContainerPhase.EXITED),
    ],
)
async def test_the_phase_of_a_container_follows_from_its_state(
    parts: Parts, state: dict[str, object], phase: ContainerPhase
) -> None:
    assert parts.executor.observe(record()).phase is ContainerPhase.ABSENT
    await parts.executor.prepare(record())
    parts.containers.change(CONTAINER, **state)
    assert parts.executor.observe(record()).phase is phase


async def test_an_observation_carries_the_health_check_the_exit_code_and_the_reason(parts: Parts) -> None:
    await parts.executor.prepare(record())
    health = ContainerHealth(status=HealthStatus.UNHEALTHY)
    parts.containers.change(
        CONTAINER, status=RunStatus.EXITED, exit_code=137, oom_killed=True, error="killed", health=health
    )
    assert parts.executor.observe(record(state=TaskState.RUNNING)) == Observation(
        phase=ContainerPhase.EXITED, exit_code=137, oom_killed=True, error="killed", health=HealthStatus.UNHEALTHY
    )


async def test_stopping_a_container_that_is_gone_is_no_error(parts: Parts) -> None:
    await parts.executor.stop(record())
