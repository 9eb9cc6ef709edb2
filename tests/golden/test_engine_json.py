"""Golden files of the Engine API's JSON: the complete JSON of one object of each kind, in order, so that review sees changes.

Rewrite the files with ``COVEY_WRITE_GOLDEN=1`` and read the difference.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.container.model import (
    Container,
    ContainerConfig,
    ContainerFiles,
    ContainerHealth,
    ContainerMount,
    ContainerState,
    EndpointSettings,
    HealthStatus,
    LogConfig,
    MountKind,
    PortBinding,
    PublishedPort,
    RunStatus,
)
from covey.objects import (
    IPAM,
    Annotations,
    Cluster,
    ContainerSpec,
    ContainerStatus,
    Driver,
    Endpoint,
    EndpointSpec,
    EngineDescription,
    IPAMConfig,
    ManagerStatus,
    Meta,
    Network,
    NetworkAttachmentConfig,
    NetworkSpec,
    Node,
    NodeDescription,
    NodeSpec,
    NodeStatus,
    Platform,
    ResourceRequirements,
    Resources,
    RootCA,
    Secret,
    SecretReference,
    SecretSpec,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskStatus,
    UpdateStatus,
    VirtualIP,
)
from covey.objects import NetworkAttachment as TaskAttachment
from covey.objects.task import FileTarget
from covey.states import NodeRole, NodeState, Reachability, TaskState, UpdateState
from engine.translate import container, container_list, network, node, secret, service, swarm, task

FOLDER = Path(__file__).parent / "engine"
SECOND = 1_000_000_000
META = Meta(version=7, created_at_ns=1_700_000_000 * SECOND, updated_at_ns=1_700_000_001 * SECOND + 5)

SPEC = ServiceSpec(
    annotations=Annotations(name="web", labels={"tier": "front"}),
    task=TaskSpec(
        container=ContainerSpec(
            image="busybox:1",
            args=("sleep", "9"),
            env=("A=1",),
            secrets=(SecretReference(secret_id="s1", secret_name="key", file=FileTarget(name="key", mode=0o400)),),
        ),
        resources=ResourceRequirements(limits=Resources(memory_bytes=64 << 20)),
        networks=(NetworkAttachmentConfig(target="n1", aliases=("www",)),),
    ),
    replicas=2,
    endpoint=EndpointSpec(),
)
SERVICE = Service(
    id="svc1",
    meta=META,
    spec=SPEC,
    spec_version=7,
    endpoint=Endpoint(virtual_ips=(VirtualIP(network_id="n1", address="10.0.1.2/24"),)),
    update_status=UpdateStatus(
        state=UpdateState.COMPLETED,
        started_at_ns=META.created_at_ns,
        completed_at_ns=META.updated_at_ns,
        message="update completed",
    ),
)
NETWORK = Network(
    id="n1",
    meta=META,
    spec=NetworkSpec(annotations=Annotations(name="back"), attachable=True),
    ipam=IPAM(driver=Driver(name="default"), configs=(IPAMConfig(subnet="10.0.1.0/24", gateway="10.0.1.1"),)),
    vni=4097,
)
TASK = Task(
    id="t1",
    meta=META,
    spec=SPEC.task,
    service_id="svc1",
    slot=1,
    node_id="node1",
    service_annotations=SPEC.annotations,
    status=TaskStatus(
        timestamp_ns=META.updated_at_ns,
        state=TaskState.RUNNING,
        message="started",
        container=ContainerStatus(container_id="c" * 64, pid=42),
    ),
    desired_state=TaskState.RUNNING,
    networks=(TaskAttachment(network_id="n1", address="10.0.1.5/24"),),
)
NODE = Node(
    id="node1",
    meta=META,
    spec=NodeSpec(annotations=Annotations(labels={"zone": "a"}), desired_role=NodeRole.MANAGER),
    role=NodeRole.MANAGER,
    description=NodeDescription(
        hostname="host-1",
        platform=Platform(architecture="amd64", os="linux"),
        resources=Resources(nano_cpus=2 * SECOND, memory_bytes=1 << 30),
        engine=EngineDescription(version="0.1.0"),
    ),
    status=NodeStatus(state=NodeState.READY, addr="192.0.2.1"),
    manager_status=ManagerStatus(raft_id=1, addr="192.0.2.1:2378", leader=True, reachability=Reachability.REACHABLE),
)
CLUSTER = Cluster(
    id="c1", meta=META, root_ca=RootCA(join_token_worker="SWMTKN-1-a-w", join_token_manager="SWMTKN-1-a-m")
)
SECRET = Secret(id="s1", meta=META, spec=SecretSpec(annotations=Annotations(name="key"), data=b"hidden"))
CONTAINER = Container(
    ContainerConfig(
        id="c" * 64,
        name="web.1.t1",
        image="busybox:1",
        image_id="sha256:" + "a" * 64,
        args=("sleep", "9"),
        log=LogConfig(driver="json-file"),
        shm_size_bytes=64 << 20,
        command=("sleep", "9"),
        created_at_ns=META.created_at_ns,
        mounts=(ContainerMount(kind=MountKind.VOLUME, source="data", target="/data"),),
        networks=(EndpointSettings(name="back", network_id="n1", ip="10.0.1.5", prefix=24),),
        port_bindings={"80/tcp": (PortBinding(host_address="0.0.0.0", host_port="8080"),)},  # noqa: S104 - any address
        published=(PublishedPort(port="80/tcp", host_address="0.0.0.0", host_port=8080),),  # noqa: S104 - any address
        task_id="t1",
    ),
    ContainerState(
        status=RunStatus.RUNNING,
        pid=42,
        started_at_ns=META.created_at_ns,
        health=ContainerHealth(status=HealthStatus.HEALTHY),
        start_count=1,
    ),
)

FILES = ContainerFiles(log="/log", lower="/base", upper="/upper", work="/work", merged="/merged")

CASES: dict[str, Callable[[], Any]] = {
    "service": lambda: service.write(SERVICE),
    "service-with-defaults": lambda: service.write(SERVICE, defaults=True),
    "task": lambda: task.write(TASK, {"n1": NETWORK}),
    "node": lambda: node.write(NODE, lambda addr: addr.replace("2378", "2377")),
    "network": lambda: network.write(NETWORK),
    "swarm": lambda: swarm.write(CLUSTER),
    "secret": lambda: secret.write_secret(SECRET),
    "container-summary": lambda: container_list.summary(
        CONTAINER, META.created_at_ns + 180 * SECOND, "engine", "/volumes/{}".format
    ),
    "container": lambda: container.inspect(CONTAINER, FILES, [], "engine", "/volumes/{}".format),
}


@pytest.mark.parametrize("name", CASES)
def test_clients_read_this_json(name: str) -> None:
    path = FOLDER / f"{name}.json"
    found = json.dumps(CASES[name](), indent=2) + "\n"
    if os.environ.get("COVEY_WRITE_GOLDEN"):
        path.write_text(found)
    assert found == path.read_text()
    assert "hidden" not in found
