"""Services, tasks and their logs, with the real docker client and SDK and the real control service behind the API."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import docker
import pytest

from covey.errors import UnavailableError
from covey.objects import (
    NetworkAttachment,
    Service,
    TaskStatus,
    replace,
)
from covey.states import TaskState
from coveypb.v1 import dispatcher_pb2
from tests.support.api_daemon import Daemon, running
from tests.support.api_services import add_task, create


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(tmp_path) as made:
        await made.form_cluster()
        yield made


async def test_a_service_is_created_listed_inspected_and_removed(daemon: Daemon) -> None:
    service = await create(daemon, "--name", "web", "--replicas", "3", "--env", "A=1", "--label", "tier=front")
    assert service.spec.task.container.args == ("sleep", "9")
    await add_task(daemon, service, 1)
    out, _ = await daemon.docker("service", "ls", "--format", "{{.Name}} {{.Mode}} {{.Replicas}} {{.Image}}")
    assert out.strip() == "web replicated 1/3 busybox:latest"
    out, _ = await daemon.docker("service", "ls", "-q", "--filter", "label=tier=front", "--filter", "mode=global")
    assert out == ""
    out, _ = await daemon.docker("service", "inspect", "--pretty", "web")
    assert "Replicas:\t3" in out
    assert "On failure:\tpause" in out
    out, _ = await daemon.docker(
        "service", "inspect", "web", "--format", "{{json .Spec.TaskTemplate.ContainerSpec.Env}}"
    )
    assert json.loads(out) == ["A=1"]
    await daemon.docker("service", "rm", "web")
    _, err = await daemon.docker("service", "inspect", "web", check=1)
    assert "web" in err
    _, err = await daemon.docker("service", "rm", "web", check=1)
    assert "service web not found" in err.lower() or "web" in err


async def test_updates_change_what_they_name_and_nothing_else(daemon: Daemon) -> None:
    made = await create(daemon, "--name", "web", "--env", "A=1", "--mount", "type=tmpfs,target=/t,tmpfs-size=1m",
        "--update-parallelism", "2", "--update-max-failure-ratio", "0.1", "--restart-delay", "1s", "--limit-memory", "64m",
        "--constraint", "node.role==manager", "--stop-grace-period", "2s", "--hostname", "h", "--ulimit", "nofile=10:20",
        "--cap-add", "NET_ADMIN", "--sysctl", "net.core.somaxconn=9", "--health-cmd", "true", "--health-interval", "9s",
        "--dns", "192.0.2.53", "--host", "h:192.0.2.7", "--read-only", "--init", "--user", "1", "--workdir", "/w",
        "--container-label", "c=d")  # fmt: skip
    await daemon.docker(
        "service", "update", "--detach", "--image", "busybox:2", "--env-add", "B=2", "--no-resolve-image", "web"
    )
    service = daemon.store.view().services.get(made.id)
    container = made.spec.task.container
    shown = service.spec.task.container
    assert sorted(shown.env) == ["A=1", "B=2"]  # the client itself writes them in any order
    changed = replace(container, image="busybox:2", env=shown.env)
    assert service.spec == replace(made.spec, task=replace(made.spec.task, container=changed))
    await daemon.docker("service", "scale", "--detach", "web=5")
    assert daemon.store.view().services.get(made.id).spec.replicas == 5
    await daemon.docker("service", "update", "--detach", "--force", "web")
    assert daemon.store.view().services.get(made.id).spec.task.force_update == 1
    await daemon.docker("service", "rollback", "--detach", "web")
    assert daemon.store.view().services.get(made.id).spec.task.force_update == 0


async def test_an_update_of_a_stale_version_is_refused(daemon: Daemon) -> None:
    service = await create(daemon, "--name", "web")
    _, shown = await daemon.request("GET", f"/services/{service.id}")
    await daemon.docker("service", "scale", "--detach", "web=2")
    version = {"version": str(shown["Version"]["Index"])}
    status, body = await daemon.request("POST", "/services/web/update", params=version, json=shown["Spec"])
    assert status == 500
    assert "rpc error: code = Unknown desc = update out of sequence" in body["message"]
    status, body = await daemon.request("POST", "/services/web/update", json=shown["Spec"])
    assert (status, body["message"]) == (
        400,
        "invalid service version '': strconv.ParseUint: parsing \"\": invalid syntax",
    )


async def test_bad_services_leave_nothing_behind(daemon: Daemon) -> None:
    await create(daemon, "--name", "web")
    for flags, sentence in (
        (["--name", "web"], "name conflicts"),
        (["--name", "x", "--constraint", "node.role~manager"], "constraint"),
        (["--name", "x", "--publish", "80:80"], "service needs ingress network, but no ingress network is present"),
        (["--name", "x", "--publish", "80:80", "--endpoint-mode", "dnsrr"], "can't be used with dnsrr mode"),
        (["--name", "x", "--log-driver", "gelf"], 'plugin "gelf" not found'),
        (["--name", "x", "--credential-spec", "file://x"], "credential specs are for Windows containers"),
        (["--name", "x", "--mount", "type=npipe,source=a,target=/b"], "npipe"),
    ):
        _, err = await daemon.docker("service", "create", "--detach", "--no-resolve-image", *flags, "busybox", check=1)
        assert sentence in err, (flags, err)
    assert len(daemon.store.view().services) == 1


async def test_an_unsupported_field_is_refused_by_its_path_and_a_key_of_a_client_is_ignored(daemon: Daemon) -> None:
    mount = {"Type": "bind", "Source": "/b", "Target": "/a", "BindOptions": {"Colour": True}}
    template = {"ContainerSpec": {"Image": "i", "Mounts": [mount]}, "PluginSpec": {"Name": "p"}}
    status, body = await daemon.request("POST", "/services/create", json={"Name": "x", "TaskTemplate": template})
    assert status == 501
    assert body["message"] == "TaskTemplate.PluginSpec is not supported by Covey yet; remove it"
    del template["PluginSpec"]
    status, _ = await daemon.request("POST", "/services/create", json={"Name": "x", "TaskTemplate": template})
    assert status == 201
    status, body = await daemon.request(
        "POST", "/services/create", json={"Name": "y", "TaskTemplate": {"ForceUpdate": "1"}}
    )
    assert status == 400


async def test_creating_waits_for_its_tasks_as_the_client_shows_them(daemon: Daemon) -> None:
    """The client polls the service and its tasks; the test plays the orchestrator and the agent."""
    creating = asyncio.create_task(daemon.docker("service", "create", "--no-resolve-image", "--name", "web", "busybox"))
    async with asyncio.timeout(20):
        with daemon.store.watch() as (_, commits):
            while not len(daemon.store.view().services):
                await anext(commits)
    service = next(iter(daemon.store.view().services))
    await add_task(daemon, service, 1)
    out, _ = await creating
    assert "verify: Service" in out
    assert "converged" in out


async def test_tasks_are_listed_by_service_node_state_and_stack(daemon: Daemon) -> None:
    service = await create(daemon, "--name", "web", "--replicas", "2", "--label", "com.docker.stack.namespace=shop")
    await add_task(daemon, service, 1)
    failed = TaskStatus(state=TaskState.FAILED, message="started", error="task: non-zero exit (1)")
    await add_task(daemon, service, 2, status=failed, desired_state=TaskState.SHUTDOWN)
    out, _ = await daemon.docker(
        "service",
        "ps",
        "web",
        "--no-trunc",
        "--format",
        "{{.Name}} {{.Node}} {{.DesiredState}} {{.CurrentState}} {{.Error}}",
    )
    assert out.splitlines()[0].startswith("web.1 host-1 Running Running")
    assert "web.2 host-1 Shutdown Failed" in out
    assert '"task: non-zero exit (1)"' in out
    out, _ = await daemon.docker("service", "ps", "-q", "--filter", "desired-state=running", "web")
    assert len(out.split()) == 1
    out, _ = await daemon.docker("node", "ps", "self", "--format", "{{.Name}}")
    assert sorted(out.split()) == ["web.1", "web.2"]
    out, _ = await daemon.docker("stack", "ps", "shop", "--format", "{{.Name}}")
    assert sorted(out.split()) == ["web.1", "web.2"]
    status, body = await daemon.request("GET", "/tasks", params={"filters": '{"desired-state":["dancing"]}'})
    assert status == 400
    status, body = await daemon.request("GET", "/tasks/nothing")
    assert status == 404


async def test_a_container_of_another_node_is_missing_and_its_node_is_named(daemon: Daemon) -> None:
    """`docker exec` inspects first, so both answers name the node."""
    service = await create(daemon, "--name", "web")
    task = await add_task(daemon, service, 1)
    for ref in ("c" * 64, "cccc", f"web.1.{task.id}"):
        _, err = await daemon.docker("exec", ref, "true", check=1)
        assert f"No such container: {ref}: it belongs to a task on node host-1" in err
        status, body = await daemon.request("POST", f"/containers/{ref}/exec", json={"Cmd": ["true"]})
        remedy = f"run the command against that node, or use covey exec and covey cp with the task {task.id}"
        assert (status, body["message"].endswith(f"node host-1; {remedy}")) == (404, True)
    _, err = await daemon.docker("exec", "other", "true", check=1)
    assert err.strip().endswith("No such container: other")


async def test_a_tasks_networks_are_shown_whole(daemon: Daemon) -> None:
    out, _ = await daemon.docker("network", "create", "-d", "overlay", "back")
    service = await create(daemon, "--name", "web", "--network", "back")
    assert service.spec.task.networks[0].target == out.strip()
    attachment = NetworkAttachment(network_id=out.strip(), address="10.0.1.5/24")
    task = await add_task(daemon, service, 1, networks=(attachment,))
    _, shown = await daemon.request("GET", f"/tasks/{task.id}")
    assert shown["NetworksAttachments"][0]["Addresses"] == ["10.0.1.5/24"]
    assert shown["NetworksAttachments"][0]["Network"]["Spec"]["Name"] == "back"
    out, _ = await daemon.docker("inspect", "--type", "task", task.id, check=None)


def lines(service: Service, task_id: str, node_id: str, *texts: tuple[int, bytes]) -> dispatcher_pb2.LogBatch:
    return dispatcher_pb2.LogBatch(
        lines=[
            dispatcher_pb2.LogLine(
                task_id=task_id, service_id=service.id, node_id=node_id, stream=stream, data=data, slot=1,
                timestamp_ns=1_700_000_000_123_456_789,
            )
            for stream, data in texts
        ]
    )  # fmt: skip


async def test_service_logs_name_their_task_and_keep_their_stream(daemon: Daemon) -> None:
    service = await create(daemon, "--name", "web")
    task = await add_task(daemon, service, 1)
    daemon.logs.batches = [
        lines(service, task.id, daemon.node.node_id, (1, b"out line\n"), (2, b"err line\n")),
        dispatcher_pb2.LogBatch(closed=True),
    ]
    out, err = await daemon.docker("service", "logs", "--timestamps", "--tail", "5", "web")
    assert out.startswith("2023-11-14T22:13:20.123456789Z web.1.")
    assert out.rstrip().endswith("@host-1    | out line")
    assert err.rstrip().endswith("| err line")
    request = daemon.logs.requests[-1]
    assert list(request.service_refs) == [service.id]
    assert (request.options.tail, request.options.stdout, request.options.follow) == (5, True, False)
    out, _ = await daemon.docker("service", "logs", "--raw", task.id)
    assert out == "out line\n"
    status, body = await daemon.request("GET", "/services/web/logs")
    assert (status, body["message"]) == (400, "Bad parameters: you must choose at least one stream")


async def test_a_service_whose_image_has_no_possible_name_is_refused(daemon: Daemon) -> None:
    _, err = await daemon.docker("service", "create", "--name", "web", "Bad:Image:Name", check=1)
    assert '"Bad:Image:Name" is not a valid repository/tag; invalid reference format' in err
    assert len(daemon.store.view().services) == 0


async def test_logs_that_miss_a_nodes_lines_say_so_at_their_end(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    """A lost node ended the client with ``unexpected EOF`` and the daemon with a traceback."""
    service = await create(daemon, "--name", "web")
    task = await add_task(daemon, service, 1)
    reason = "error from node host-2 for web.2: it has no session with the leader"
    daemon.logs.batches = [
        dispatcher_pb2.LogBatch(error=reason),
        lines(service, task.id, daemon.node.node_id, (1, b"out line\n")),
    ]
    out, err = await daemon.docker("service", "logs", "web", check=1)
    assert out.rstrip().endswith("| out line"), "the lines of other nodes are there"
    assert f"these logs are incomplete: {reason}" in err
    assert "Traceback" not in caplog.text


async def test_followed_logs_report_missing_lines_inline(daemon: Daemon) -> None:
    service = await create(daemon, "--name", "web")
    task = await add_task(daemon, service, 1)
    daemon.logs.batches = [
        lines(service, task.id, daemon.node.node_id, (3, b"its session ended")),
        lines(service, task.id, daemon.node.node_id, (1, b"out line\n")),
    ]
    out, err = await daemon.docker("service", "logs", "--follow", "web")
    assert err.rstrip().endswith("| its session ended"), "and the client goes on"
    assert out.rstrip().endswith("| out line")


async def test_a_leader_lost_while_logs_are_read_is_an_error_and_not_an_end(daemon: Daemon) -> None:
    await create(daemon, "--name", "web")
    daemon.logs.failure = UnavailableError("the leader changed while this stream was open; open it again")
    _, err = await daemon.docker("service", "logs", "web", check=1)
    assert "these logs are incomplete: the leader changed while this stream was open; open it again" in err


async def test_the_sdk_creates_updates_and_removes_services(daemon: Daemon) -> None:
    def use(client: docker.DockerClient) -> list[str]:
        template = docker.types.TaskTemplate(
            docker.types.ContainerSpec("busybox", command=["sleep"], args=["9"], env={"A": "1"}),
            resources=docker.types.Resources(mem_limit=64 << 20),
            restart_policy=docker.types.RestartPolicy("on-failure", max_attempts=2),
        )
        made = client.api.create_service(template, name="sdk", mode=docker.types.ServiceMode("replicated", 2))
        service = client.services.get(made["ID"])
        service.update(mode=docker.types.ServiceMode("replicated", 4))
        names = [item.name for item in client.services.list(filters={"name": "sdk"})]
        service.remove()
        return [*names, *(item.name for item in client.services.list())]

    assert await daemon.sdk(use) == ["sdk"]
