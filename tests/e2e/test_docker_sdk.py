"""The unmodified Docker SDK for Python: services, secrets, networks, nodes, swarm, containers and events."""

import threading
from collections.abc import Iterator

import docker
import pytest
from docker.errors import APIError, NotFound
from docker.types import EndpointSpec, SecretReference, ServiceMode

from tests.support import labs
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root


@pytest.fixture
def client(lab: LabCluster) -> Iterator[docker.DockerClient]:
    """SDK client of a manager that may be a follower."""
    made = docker.DockerClient(base_url=f"unix://{lab.managers[2].socket}", timeout=60)
    yield made
    made.close()


def sdk_of(lab: LabCluster, task: dict) -> docker.DockerClient:
    return docker.DockerClient(base_url=f"unix://{lab.host_of(task).socket}", timeout=60)


def test_ping_version_and_info(client: docker.DockerClient) -> None:
    assert client.ping() is True
    assert client.version()["ApiVersion"] == "1.50"
    assert client.info()["Swarm"]["ControlAvailable"] is True


def test_a_service_is_created_updated_used_and_removed(lab: LabCluster, client: docker.DockerClient) -> None:
    network = client.networks.create("net", driver="overlay", labels={"a": "b"})
    secret = client.secrets.create(name="word", data=b"open")
    service = client.services.create(
        IMAGE,
        labs.WEB[0],
        args=list(labs.WEB[1:]),
        name="web",
        env=["A=b"],
        labels={"tier": "front"},
        networks=["net"],
        secrets=[SecretReference(secret.id, "word", filename="key", mode=0o400)],
        mode=ServiceMode("replicated", replicas=2),
        endpoint_spec=EndpointSpec(mode="vip"),
        stop_grace_period=0,
    )
    lab.running("web", 2)
    assert [found.name for found in client.services.list(filters={"label": "tier=front"})] == ["web"]
    assert len(service.tasks(filters={"desired-state": "running"})) == 2
    assert service.scale(3)
    tasks = lab.running("web", 3)
    service.reload()
    assert service.attrs["Spec"]["Mode"]["Replicated"]["Replicas"] == 3
    assert service.update(env=["A=c"], fetch_current_spec=True, update_config={"Parallelism": 3})
    old = {task["ID"] for task in tasks}
    labs.wait(lambda: not {task["ID"] for task in lab.running("web", 3)} & old, "the updated tasks")

    task = lab.running("web", 3)[0]
    on_host = sdk_of(lab, task)
    try:
        container = on_host.containers.get(lab.container(task))
        assert container.status == "running"
        assert container in on_host.containers.list()
        code, output = container.exec_run(["sh", "-c", "echo $A; cat /run/secrets/key"])
        assert (code, output) == (0, b"c\nopen")
        code, (out, err) = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
        assert (code, out, err) == (4, b"out\n", b"err\n")
        assert b"".join(container.exec_run("echo streamed", stream=True).output) == b"streamed\n"
        assert container.exec_run("tty", tty=True).output.startswith(b"/dev/pts/")
        assert container.attrs["Config"]["Image"] == IMAGE
    finally:
        on_host.close()

    with pytest.raises(APIError) as refused:
        secret.remove()
    assert "in use" in refused.value.explanation
    service.remove()
    with pytest.raises(NotFound):
        client.services.get("web")
    labs.wait(lambda: not lab.get("/tasks"), "its tasks to end")
    secret.remove()
    network.remove()


def test_nodes_and_the_swarm_are_updated(lab: LabCluster, client: docker.DockerClient) -> None:
    nodes = {node.attrs["Description"]["Hostname"]: node for node in client.nodes.list()}
    assert set(nodes) == {host.name for host in lab.hosts}
    assert len(client.nodes.list(filters={"role": "worker"})) == 2
    worker = nodes[lab.workers[0].name]
    spec = worker.attrs["Spec"]
    assert worker.update({**spec, "Labels": {"sdk": "yes"}})
    worker.reload()
    assert worker.attrs["Spec"]["Labels"] == {"sdk": "yes"}
    with pytest.raises(APIError) as stale:
        client.api.update_node(worker.id, 1, spec)
    assert "out of sequence" in stale.value.explanation
    assert worker.update(spec)
    client.swarm.reload()
    assert client.swarm.attrs["JoinTokens"]["Worker"].startswith("SWMTKN-1-")
    before = client.swarm.attrs["JoinTokens"]["Worker"]
    assert client.swarm.update(rotate_worker_token=True)
    client.swarm.reload()
    assert client.swarm.attrs["JoinTokens"]["Worker"] != before


def test_service_logs_and_images_are_read(lab: LabCluster, client: docker.DockerClient) -> None:
    service = client.services.create(
        IMAGE, ["sh", "-c", "echo said; exec sleep 100000"], name="says", stop_grace_period=0
    )
    lab.running("says", 1)
    labs.wait(lambda: b"said\n" in b"".join(service.logs(stdout=True, stderr=True)), "the log line")
    assert IMAGE in client.images.get(IMAGE).tags
    assert {tag for image in client.images.list() for tag in image.tags} == {IMAGE, labs.OTHER_IMAGE}
    with pytest.raises(NotFound):
        client.images.get("no/such")


def test_events_are_streamed(lab: LabCluster, client: docker.DockerClient) -> None:
    stream = client.events(decode=True, filters={"type": "network"})
    heard: list[dict] = []
    listening = threading.Thread(target=lambda: heard.extend([next(stream)]))
    listening.start()
    lab.docker("network", "create", "-d", "overlay", "noticed")
    listening.join(labs.SECONDS)
    assert heard, "no event within the deadline"
    assert (heard[0]["Action"], heard[0]["Actor"]["Attributes"]["name"]) == ("create", "noticed")
    stream.close()
