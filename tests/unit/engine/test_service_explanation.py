"""``service explain`` and dry runs through the API and the command, with the real control service behind them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from covey.objects import TaskStatus
from covey.states import TaskState
from tests.support.api_daemon import Daemon, running
from tests.support.api_services import add_task, create

NODE_2 = "z" * 25
"""After the id of the first node, which is random."""


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(tmp_path) as made:
        await made.form_cluster()
        await made.add_node(NODE_2, "host-2")
        yield made


async def test_a_waiting_task_is_explained_with_the_change_that_places_it(daemon: Daemon) -> None:
    service = await create(daemon, "--name", "web", "--constraint", "node.labels.zone==a")
    waiting = TaskStatus(state=TaskState.PENDING)
    await add_task(daemon, service, 1, status=waiting, node_id="")
    out, _ = await daemon.covey("service", "explain", "web")
    assert out.splitlines() == [
        "web: 0 of 1 task running",
        "",
        "1 task waits for a node: web.1",
        "  NODES     FILTER        REFUSED BECAUSE       WHICH",
        "  2         constraints   node.labels.zone==a   host-1, host-2",
        "  Any of these changes places tasks:",
        "  - add the label zone=a to node host-1",
        "      covey node update --label-add zone=a host-1",
        "  - add the label zone=a to node host-2",
        "      covey node update --label-add zone=a host-2",
        "  - remove the constraint node.labels.zone==a",
        "      covey service update --constraint-rm node.labels.zone==a web",
    ]
    out, _ = await daemon.covey("service", "explain", "--format", "json", "web")
    status, body = await daemon.request("GET", "/services/web/explain")
    assert (status, body) == (200, json.loads(out))
    assert body["Waiting"][0]["Refusals"] == [
        {
            "Filter": "constraints",
            "Count": 2,
            "Sentence": "scheduling constraints not satisfied on 2 nodes",
            "Detail": "node.labels.zone==a",
            "Nodes": ["host-1", "host-2"],
        }
    ]
    _, err = await daemon.covey("service", "explain", "nothing", check=1)
    assert "service nothing not found" in err


async def test_a_dry_run_shows_the_placement_and_stores_nothing(daemon: Daemon) -> None:
    before = daemon.store.view().version
    flags = ("--name", "web", "--replicas", "5", "--reserve-memory", "512m")
    out, _ = await daemon.covey("service", "create", "--dry-run", *flags, "busybox", check=1)
    assert out.splitlines()[:7] == [
        "+ service web: 5 tasks",
        "Placement:",
        "  host-1: 2 tasks (2 new)",
        "  host-2: 2 tasks (2 new)",
        "",
        "1 task waits for a node: web.5",
        "  NODES     FILTER      REFUSED BECAUSE                      WHICH",
    ]
    assert daemon.store.view().version == before
    assert not list(daemon.store.view().services)


async def test_a_dry_run_of_an_update_shows_the_difference(daemon: Daemon) -> None:
    service = await create(daemon, "--name", "web", "--replicas", "2")
    await add_task(daemon, service, 1)
    await add_task(daemon, service, 2, node_id=NODE_2)
    stored = daemon.store.view().version
    out, _ = await daemon.covey("service", "update", "--dry-run", "--env-add", "A=1", "--replicas", "3", "web")
    assert out.splitlines() == [
        "~ service web: restarts its tasks: Env changed",
        "    Mode.Replicated.Replicas: 2 -> 3",
        '    TaskTemplate.ContainerSpec.Env.A: (none) -> "A=1"',
        "Placement:",
        "  host-1: 2 tasks (2 new)",
        "  host-2: 1 task (1 new)",
    ]
    out, _ = await daemon.covey("service", "scale", "--dry-run", "web=3")
    assert out.splitlines() == [
        "~ service web: restarts no task",
        "    Mode.Replicated.Replicas: 2 -> 3",
        "Placement:",
        "  host-1: 2 tasks (1 new, 1 kept)",
        "  host-2: 1 task (1 kept)",
    ]
    assert daemon.store.view().version == stored


async def test_a_dry_run_refuses_what_the_request_would_be_refused_for(daemon: Daemon) -> None:
    await create(daemon, "--name", "web")
    for flags in (("--name", "web"), ("--name", "other", "--constraint", "nonsense"), ("--label", "covey.wrong=1")):
        _, real = await daemon.covey("service", "create", *flags, "busybox", check=1)
        _, tried = await daemon.covey("service", "create", "--dry-run", *flags, "busybox", check=1)
        assert tried.rpartition("daemon: ")[2] in real
    _, shown = await daemon.request("GET", "/services/web")
    path = "/services/web/update?version=1"
    status, body = await daemon.request("POST", f"{path}&dryRun=1", json=shown["Spec"])
    real_status, real_body = await daemon.request("POST", path, json=shown["Spec"])
    assert status == real_status
    assert "out of sequence" in body["message"]
    assert body["message"] in real_body["message"]
    _, err = await daemon.covey("service", "update", "--rollback", "--dry-run", "web", check=1)
    assert "does not have a previous spec" in err
