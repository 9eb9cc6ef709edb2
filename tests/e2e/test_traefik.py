"""A real Traefik as a service of the cluster: its swarm provider finds services through the Docker API and routes to them."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, LabCluster, wait

pytestmark = pytest.mark.root
TRAEFIK = Path(sys.executable).with_name("traefik")
SOCKET = "/covey.sock"
PORT = 8080


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    """A manager with Traefik, published on every node, and a worker."""
    assert TRAEFIK.exists(), f"{TRAEFIK} is missing: scripts/setup --dev installs it"
    with labs.running_lab("traefik", 1, 1, archive=images) as running:
        running.docker("network", "create", "-d", "overlay", "front")
        mounts = (f"type=bind,src={TRAEFIK},dst=/traefik,ro", f"type=bind,src={running[1].socket},dst={SOCKET}")
        running.docker(
            *("service", "create", "-q", "-d", "--name", "proxy", "--publish", f"{PORT}:80", "--network", "front"),
            *("--constraint", "node.role==manager", *(word for mount in mounts for word in ("--mount", mount))),
            *(IMAGE, "/traefik", "--entrypoints.web.address=:80", f"--providers.swarm.endpoint=unix://{SOCKET}"),
            *("--providers.swarm.exposedbydefault=false", "--providers.swarm.network=front"),
            *("--providers.swarm.refreshseconds=1", "--ping", "--ping.entrypoint=web", "--api.insecure=true"),
        )
        running.running("proxy", 1)
        wait(lambda: get(running, "any", "/ping") == "OK", "Traefik answers through the node without it")
        yield running


def get(lab: LabCluster, host: str, path: str = "/cgi-bin/who") -> str:
    """What a client outside the cluster gets from Traefik, through the node without it, for this host name."""
    url = f"http://{lab[2].address}:{PORT}{path}"
    return lab.outside("curl", "-s", "-m", "3", "-H", f"Host: {host}", url, check=None).out.strip()


def create(lab: LabCluster, name: str, host: str, *options: str, replicas: int = 2) -> None:
    labels = (
        "traefik.enable=true",
        f"traefik.http.routers.{name}.rule=Host(`{host}`)",
        f"traefik.http.services.{name}.loadbalancer.server.port=80",
    )
    lab.docker(
        *("service", "create", "-q", "-d", "--name", name, "--network", "front", "--replicas", str(replicas)),
        *(word for label in labels for word in ("--label", label)),
        *("--env", "NODE={{.Task.Slot}}", "--stop-signal", "SIGKILL", *options, IMAGE, *labs.WEB),
    )
    lab.running(name, replicas)


def answering(lab: LabCluster, host: str, requests: int = 12) -> set[str]:
    """The slots of the tasks that answer for this host name."""
    return {(get(lab, host).split() or ["", "", ""])[2] for _ in range(requests)}


def test_each_task_of_a_labelled_service_gets_requests_and_changes_are_followed(lab: LabCluster) -> None:
    create(lab, "shop", "shop.example")
    wait(lambda: answering(lab, "shop.example") == {"1", "2"}, "both tasks answer")
    assert "404" in get(lab, "other.example")
    lab.docker("service", "scale", "-d", "shop=3")
    wait(lambda: answering(lab, "shop.example") == {"1", "2", "3"}, "a new task answers")
    lab.docker(
        "service", "update", "-q", "-d", "--label-add", "traefik.http.routers.shop.rule=Host(`new.example`)", "shop"
    )
    wait(lambda: answering(lab, "new.example") == {"1", "2", "3"}, "the new rule holds")
    assert "404" in get(lab, "shop.example")
    lab.docker("service", "rm", "shop")
    wait(lambda: "404" in get(lab, "new.example"), "Traefik forgets a removed service")


def test_a_service_behind_its_virtual_ip_is_routed_by_the_cluster(lab: LabCluster) -> None:
    create(lab, "vip", "vip.example", "--label", "traefik.swarm.lbswarm=true")
    wait(lambda: answering(lab, "vip.example") == {"1", "2"}, "the cluster leads Traefik to both tasks")
    front = lab.get("/networks/front")["Id"]
    addresses = {item["NetworkID"]: item["Addr"] for item in lab.get("/services/vip")["Endpoint"]["VirtualIPs"]}
    (proxy,) = lab.running("proxy", 1)
    shown = lab.execute(proxy, "wget", "-q", "-O", "-", "http://127.0.0.1:8080/api/http/services/vip@swarm").out
    servers = json.loads(shown)["loadBalancer"]["servers"]
    assert servers == [{"url": f"http://{addresses[front].partition('/')[0]}:80"}]
    lab.docker("service", "rm", "vip")
