"""``depends_on`` of a stack on a cluster: tasks start after what they need, say what they wait for, and end before it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root

STACK = "com.docker.stack.namespace=app"
COVEY = labs.PYTHON_BIN / "covey"
FILE = f"""
services:
  a-web:
    image: {IMAGE}
    command: ["sleep", "1000000"]
    stop_grace_period: 2s
    depends_on:
      db: {{condition: service_healthy, restart: true}}
      migrate: {{condition: service_completed_successfully}}
  db:
    image: {IMAGE}
    command: ["sh", "-c", "sleep 2; touch /tmp/ready; exec sleep 1000000"]
    stop_signal: SIGKILL
    healthcheck: {{test: ["CMD", "test", "-e", "/tmp/ready"], interval: 300ms, retries: 30}}
  migrate:
    image: {IMAGE}
    command: ["true"]
    deploy: {{restart_policy: {{condition: on-failure}}}}
    depends_on:
      db: {{condition: service_healthy}}
"""


def covey(lab: LabCluster, *arguments: str) -> str:
    return labs.run([COVEY, *arguments], env=lab.environment()).out


def all_tasks(lab: LabCluster, service: str) -> list[dict]:
    return lab.get("/tasks", service=[service])


def test_a_stack_starts_and_ends_in_the_order_of_its_dependencies(lab: LabCluster, tmp_path: Path) -> None:
    """1. The web server waits for the database and the migration, and says so. 2. It starts after both. 3. An update of the database
    restarts it. 4. Services are removed from the last to the first.
    """
    file = tmp_path / "stack.yml"
    file.write_text(FILE)
    covey(lab, "stack", "deploy", "--detach", "--resolve-image", "never", "-c", str(file), "app")
    reason = "waiting for app_db to be healthy (0 of 1 tasks)"
    labs.wait(lambda: reason in lab.docker("service", "ps", "--no-trunc", "app_a-web").out, "the reason in service ps")
    waiting = lab.get("/services/app_a-web")
    assert waiting["WaitingFor"] == reason
    assert waiting["DependsOn"] == [
        {"Service": "app_db", "Condition": "service_healthy", "Restart": True},
        {"Service": "app_migrate", "Condition": "service_completed_successfully"},
    ]
    assert "0/1 (waiting for app_db to be healthy)" in covey(lab, "service", "ls")
    assert reason in covey(lab, "service", "ps", "--no-trunc", "app_a-web")
    (web,), (db,) = lab.running("app_a-web", 1), lab.running("app_db", 1)
    (migrate,) = all_tasks(lab, "app_migrate")
    assert migrate["Status"]["State"] == "complete"
    assert web["Status"]["Timestamp"] > migrate["Status"]["Timestamp"] > db["Status"]["Timestamp"]
    assert not web["Status"].get("Err")
    assert "WaitingFor" not in lab.get("/services/app_a-web")

    lab.docker("service", "update", "-d", "--force", "app_db")
    labs.wait(lambda: lab.running("app_a-web", 1)[0]["ID"] != web["ID"], "the restart after the update")

    with subprocess.Popen([COVEY, "stack", "rm", "app"], env=lab.environment(), stdout=subprocess.PIPE) as removal:
        labs.wait(lambda: not services_of(lab), "the removal of the services")
        labs.wait(lambda: "app_a-web" not in still_running(lab, together=True), "the end of the web server")
        said, _ = removal.communicate(timeout=60)
    removed = [line for line in said.decode().splitlines() if "service" in line]
    assert removed == [f"Removing service app_{name}" for name in ("a-web", "migrate", "db")]
    labs.wait(lambda: not lab.get("/tasks", label=[STACK]), "the end of all tasks")


def services_of(lab: LabCluster) -> list[dict]:
    return lab.get("/services", label=[STACK])


def still_running(lab: LabCluster, *, together: bool) -> set[str]:
    """The services of which a container runs. While the web server stops (it takes 2 s), the database must serve."""
    tasks = [task for task in lab.get("/tasks", label=[STACK]) if task["Status"]["State"] == "running"]
    found = {name for task in tasks for name in ("app_a-web", "app_db") if task["Name"].startswith(name)}
    wanted = {task["DesiredState"] for task in tasks if task["Name"].startswith("app_db")}
    assert not together or "app_a-web" not in found or wanted == {"running"}, tasks
    return found


def test_a_service_of_the_api_depends_on_another_one_and_a_docker_client_keeps_that(lab: LabCluster) -> None:
    """1. A service is created with `DependsOn`, before the one that it names. 2. `docker service update` keeps it. 3. Then that exists."""
    task = {"ContainerSpec": {"Image": IMAGE, "Command": ["sleep"], "Args": ["1000"], "StopSignal": "SIGKILL"}}
    wanted = {"Name": "front", "TaskTemplate": task, "DependsOn": [{"Service": "back", "Condition": "service_healthy"}]}
    status, made = lab.request("POST", "/services/create", wanted)
    assert status == 201, made
    lab.docker("service", "update", "-d", "--env-add", "A=1", "front")
    shown = covey(lab, "service", "inspect", "--pretty", "front")
    assert "DependsOn:\n back:" in shown
    assert "service_healthy" in shown
    labs.wait(
        lambda: "waiting for back to exist" in lab.docker("service", "ps", "--no-trunc", "front").out, "the reason"
    )
    lab.service("back")
    lab.running("front", 1)


def test_dependencies_without_an_end_are_refused(lab: LabCluster, tmp_path: Path) -> None:
    file = tmp_path / "stack.yml"
    file.write_text(f"services: {{a: {{image: {IMAGE}, depends_on: [b]}}, b: {{image: {IMAGE}, depends_on: [a]}}}}")
    refused = labs.run([COVEY, "stack", "deploy", "--detach", "-c", file, "ring"], check=None, env=lab.environment())
    assert refused.code != 0
    assert "dependency cycle detected: a -> b -> a" in refused.err
    assert not lab.get("/services", label=["com.docker.stack.namespace=ring"])
    create = ("service", "create", "-d", "--name", "own", "--label", "covey.depends-on=own", IMAGE)
    refused = labs.run(["docker", *create], check=None, env=lab.environment())
    assert "services depend on each other: own -> own" in refused.err
