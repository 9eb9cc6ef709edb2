"""``docker stack deploy`` of a Compose file: created objects, a second deploy without changes, an update, and removal."""

from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root

FILE = f"""
services:
  web:
    image: {IMAGE}
    command: ["httpd", "-f", "-p", "80", "-h", "/www"]
    stop_signal: SIGKILL
    environment:
      COLOUR: red
    networks: [front]
    secrets:
      - source: word
        target: key
        mode: 0440
    deploy:
      replicas: 3
      labels: {{tier: front}}
      update_config: {{parallelism: 2, order: start-first, monitor: 100ms}}
      restart_policy: {{condition: any, delay: 200ms}}
      resources:
        limits: {{memory: 64M}}
  client:
    image: {IMAGE}
    command: ["sleep", "1000000"]
    stop_signal: SIGKILL
    networks: [front]
    deploy:
      placement:
        constraints: [node.role == worker]
networks:
  front:
    driver: overlay
    ipam:
      config: [{{subnet: 10.123.0.0/24}}]
secrets:
  word:
    file: ./word.txt
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "word.txt").write_text("open")
    (tmp_path / "stack.yaml").write_text(FILE)
    return tmp_path


def deploy(lab: LabCluster, folder: Path) -> str:
    return lab.docker("stack", "deploy", "-d", "--resolve-image", "never", "-c", str(folder / "stack.yaml"), "shop").out


def test_a_stack_is_deployed_redeployed_updated_and_removed(lab: LabCluster, folder: Path) -> None:
    said = deploy(lab, folder)
    for made in ("Creating network shop_front", "Creating secret shop_word", "Creating service shop_web"):
        assert made in said
    web, client = lab.running("shop_web", 3), lab.running("shop_client", 1)[0]
    assert lab.host_of(client) in lab.workers
    assert lab.execute(client, "wget", "-q", "-O", "-", "http://web/").out == "ok\n"
    assert lab.execute(
        web[0], "sh", "-c", "cat /run/secrets/key; stat -c ' %a' /run/secrets/key; echo $COLOUR"
    ).lines == ["open 440", "red"]
    (network,) = lab.json("network", "inspect", "shop_front")
    assert network["IPAM"]["Config"][0]["Subnet"] == "10.123.0.0/24"
    service = lab.get("/services/shop_web")
    assert service["Spec"]["Labels"]["com.docker.stack.namespace"] == "shop"
    assert service["Spec"]["Labels"]["tier"] == "front"

    assert lab.docker("stack", "ls", "--format", "{{.Name}} {{.Services}}").lines == ["shop 2"]
    assert sorted(lab.docker("stack", "services", "--format", "{{.Name}} {{.Replicas}}", "shop").lines) == [
        "shop_client 1/1",
        "shop_web 3/3",
    ]
    assert len(lab.docker("stack", "ps", "-q", "shop").lines) == 4

    before = {task["ID"] for task in (*web, client)}
    assert "Updating service shop_web" in deploy(lab, folder)
    again = {task["ID"] for name, count in (("shop_web", 3), ("shop_client", 1)) for task in lab.running(name, count)}
    assert again == before, "a second deploy of the same file restarted tasks"

    (folder / "stack.yaml").write_text(FILE.replace("COLOUR: red", "COLOUR: blue"))
    deploy(lab, folder)

    def all_replaced() -> bool:
        tasks = lab.running("shop_web", 3)
        return not {task["ID"] for task in tasks} & before

    labs.wait(all_replaced, "new web tasks")
    assert lab.execute(lab.running("shop_web", 3)[0], "sh", "-c", "echo $COLOUR").out == "blue\n"
    assert lab.running("shop_client", 1)[0]["ID"] == client["ID"]

    lab.docker("stack", "rm", "shop")
    assert lab.get("/services") == []
    assert lab.get("/secrets") == []
    assert "shop_front" not in lab.docker("network", "ls", "--format", "{{.Name}}").lines
    assert lab.docker("stack", "ls", "--format", "{{.Name}}").lines == []


def test_ports_of_a_stack_are_published_and_change_without_a_restart(lab: LabCluster, folder: Path) -> None:
    def deploy(ports: str) -> list[tuple[int, int]]:
        text = f"services:\n  web:\n    image: {IMAGE}\n    command: sleep 1000\n    ports: {ports}\n"
        (folder / "stack.yaml").write_text(text)
        lab.docker("stack", "deploy", "--resolve-image", "never", "-c", str(folder / "stack.yaml"), "shop")
        shown = lab.get("/services/shop_web")["Endpoint"]["Ports"]
        return [(port["PublishedPort"], port["TargetPort"]) for port in shown]

    assert deploy("['8080:80']") == [(8080, 80)]
    task = lab.running("shop_web", 1)[0]["ID"]
    assert deploy("[{published: 8081, target: 80}, '9000-9001:90-91']") == [(8081, 80), (9000, 90), (9001, 91)]
    assert lab.running("shop_web", 1)[0]["ID"] == task
    lab.docker("stack", "rm", "shop")
