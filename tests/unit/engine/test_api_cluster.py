"""The cluster's objects through the real docker client and SDK, with the real control service behind the API."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import docker
import pytest

from covey.errors import InvalidArgumentError, UnavailableError
from covey.objects import (
    Annotations,
    ContainerStatus,
    Network,
    NetworkAttachment,
    Service,
    Task,
    TaskStatus,
    replace,
)
from covey.states import TaskState
from coveypb.v1 import dispatcher_pb2
from engine.interfaces import LocalNodeState
from tests.support.api_daemon import Daemon, running


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(tmp_path) as made:
        await made.form_cluster()
        yield made


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(tmp_path) as made:
        yield made


async def add_task(daemon: Daemon, service: Service, slot: int, **changes: object) -> Task:
    defaults: dict[str, object] = {
        "id": f"task{slot}".ljust(25, "x"),
        "service_id": service.id,
        "slot": slot,
        "node_id": daemon.node.node_id,
        "spec": service.spec.task,
        "spec_version": service.spec_version,
        "service_annotations": service.spec.annotations,
        "status": TaskStatus(
            state=TaskState.RUNNING, message="started", container=ContainerStatus(container_id="c" * 64, pid=7)
        ),
        "desired_state": TaskState.RUNNING,
    }
    task = Task(**{**defaults, **changes})
    await daemon.store.update(lambda tx: tx.create(task))
    return task


async def create(daemon: Daemon, *flags: str) -> Service:
    out, _ = await daemon.docker("service", "create", "--detach", "--no-resolve-image", *flags, "busybox", "sleep", "9")
    return daemon.store.view().services.get(out.strip())


# --- swarm ---


async def test_init_join_and_leave_reach_the_node(alone: Daemon) -> None:
    out, _ = await alone.docker("swarm", "init", "--advertise-addr", "192.0.2.1", "--task-history-limit", "3")
    request = alone.node.requests[0]
    assert (request.advertise_addr, request.spec.task_history) == ("192.0.2.1", 3)
    assert request.spec.heartbeat_period_ns == 1_000_000_000
    assert "Swarm initialized" in out or "is now a manager" in out
    _, err = await alone.docker("swarm", "init", check=1)
    assert "This node is already part of a swarm" in err
    _, err = await alone.docker("swarm", "join", "--token", "SWMTKN-1-a-b", "192.0.2.9:2377", check=1)
    assert "This node is already part of a swarm" in err
    await alone.docker("swarm", "leave", "--force")
    assert alone.node.requests[-1] == ("leave", True)
    _, err = await alone.docker("swarm", "leave", check=1)
    assert "This node is not part of a swarm" in err
    out, _ = await alone.docker("swarm", "join", "--token", "SWMTKN-1-a-b", "192.0.2.9:2377")
    assert alone.node.requests[-1].remote_addrs == ("192.0.2.9:2377",)
    assert "joined a swarm" in out


async def test_an_error_of_the_node_reaches_the_client(alone: Daemon) -> None:
    alone.node.error_to_raise = UnavailableError("no manager answers at 192.0.2.9:2377")
    _, err = await alone.docker("swarm", "join", "--token", "SWMTKN-1-a-b", "192.0.2.9:2377", check=1)
    assert "no manager answers at 192.0.2.9:2377" in err


async def test_join_tokens_are_shown_and_rotated(daemon: Daemon) -> None:
    out, _ = await daemon.docker("swarm", "join-token", "-q", "worker")
    assert out.strip() == "SWMTKN-1-x-worker"
    assert daemon.node.managers == (), "a daemon that has just started has not heard of its managers yet"
    out, _ = await daemon.docker("swarm", "join-token", "worker")
    assert "docker swarm join --token SWMTKN-1-x-worker 192.0.2.1:2377" in out
    out, _ = await daemon.docker("node", "ls", "-q")
    out, _ = await daemon.docker("node", "inspect", *out.split(), "--format", "{{.ManagerStatus.Addr}}")
    assert out.strip() == "192.0.2.1:2377"
    before = daemon.store.view().clusters
    version = next(iter(before)).meta.version
    status, _ = await daemon.request("POST", "/swarm/update", params={"version": "1"}, json={"Name": "other"})
    assert status == 400
    status, body = await daemon.request("POST", "/swarm/update", params={"version": str(version + 9)}, json={})
    assert (status, body["message"]) == (500, "rpc error: code = Unknown desc = update out of sequence"), body


async def test_swarm_update_changes_only_what_is_asked(daemon: Daemon) -> None:
    await daemon.docker("swarm", "update", "--task-history-limit", "2", "--dispatcher-heartbeat", "2s")
    spec = next(iter(daemon.store.view().clusters)).spec
    assert (spec.task_history, spec.heartbeat_period_ns) == (2, 2_000_000_000)
    assert spec.raft.snapshot_interval == 10_000


async def test_an_unlock_key_is_created_shown_rotated_and_removed_and_shown_nowhere_else(daemon: Daemon) -> None:
    _, err = await daemon.docker("swarm", "unlock-key", check=1)
    assert "no unlock key is set" in err
    out, _ = await daemon.docker("swarm", "update", "--autolock=true")
    key = next(line.strip() for line in out.splitlines() if "SWMKEY-1-" in line)
    assert next(iter(daemon.store.view().clusters)).unlock_key == key
    await daemon.docker("swarm", "update", "--task-history-limit", "2")
    out, _ = await daemon.docker("swarm", "unlock-key", "-q")
    assert out.strip() == key, "other changes leave the key"
    for path in ("/swarm", "/info"):
        _, body = await daemon.request("GET", path)
        assert "SWMKEY" not in str(body)
        assert key not in str(body)
    out, _ = await daemon.docker("swarm", "unlock-key", "-q", "--rotate")
    assert out.strip() not in {"", key}
    await daemon.docker("swarm", "update", "--autolock=false")
    assert next(iter(daemon.store.view().clusters)).unlock_key == ""
    version = next(iter(daemon.store.view().clusters)).meta.version
    query = {"version": str(version), "rotateManagerUnlockKey": "true"}
    status, body = await daemon.request("POST", "/swarm/update", params=query, json={"Name": "default"})
    assert (status, body["message"]) == (
        400,
        "rpc error: code = InvalidArgument desc = cannot rotate the unlock key because autolock is not turned on",
    )
    assert next(iter(daemon.store.view().clusters)).meta.version == version


async def test_init_asks_for_a_lock_by_either_field(alone: Daemon) -> None:
    for body in ({"AutoLockManagers": True}, {"Spec": {"EncryptionConfig": {"AutoLockManagers": True}}}):
        alone.node.state = LocalNodeState.INACTIVE
        await alone.request("POST", "/swarm/init", json={"ListenAddr": "0.0.0.0:2377", **body})
        assert alone.node.requests[-1].spec.auto_lock


async def test_a_locked_manager_is_unlocked_by_its_key(daemon: Daemon) -> None:
    daemon.node.state, daemon.node.is_manager = LocalNodeState.LOCKED, False
    out, _ = await daemon.docker("info", "--format", "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}")
    assert out.strip() == "locked false"
    _, err = await daemon.docker("node", "ls", check=1)
    assert 'Please use "docker swarm unlock" to unlock it.' in err
    daemon.node.error_to_raise = InvalidArgumentError("swarm could not be unlocked: invalid key provided")
    _, err = await daemon.docker("swarm", "unlock", stdin=b"SWMKEY-1-wrong\n", check=1)
    assert "invalid key provided" in err
    daemon.node.error_to_raise = None
    await daemon.docker("swarm", "unlock", stdin=b"SWMKEY-1-right\n")
    assert daemon.node.requests[-1] == ("unlock", "SWMKEY-1-right")
    status, body = await daemon.request("POST", "/swarm/unlock", json={"UnlockKey": "SWMKEY-1-right"})
    assert (status, body["message"]) == (409, "swarm is not locked")
    daemon.node.state = LocalNodeState.INACTIVE
    status, _ = await daemon.request("POST", "/swarm/unlock", json={"UnlockKey": "x"})
    assert status == 503


# --- nodes ---


async def test_nodes_are_listed_filtered_updated_and_removed(daemon: Daemon) -> None:
    other = await daemon.add_node("w" * 25, "host-2")
    out, _ = await daemon.docker(
        "node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}} {{.Self}}"
    )
    assert sorted(out.splitlines()) == ["host-1 Ready Active Leader true", "host-2 Ready Active  false"]
    out, _ = await daemon.docker("node", "ls", "-q", "--filter", "role=worker")
    assert out.split() == [other.id]
    await daemon.docker("node", "update", "--availability", "drain", "--label-add", "zone=a", "host-2")
    out, _ = await daemon.docker(
        "node", "inspect", "host-2", "--format", "{{.Spec.Availability}} {{.Spec.Labels.zone}}"
    )
    assert out.split() == ["drain", "a"]
    out, _ = await daemon.docker("node", "ls", "-q", "--filter", "node.label=zone=a")
    assert out.split() == [other.id]
    out, _ = await daemon.docker("node", "inspect", "--pretty", "self")
    assert "host-1" in out
    _, err = await daemon.docker("node", "rm", "host-2", check=1)
    assert "host-2" in err or other.id in err
    _, err = await daemon.docker("node", "inspect", "nobody", check=1)
    assert "nobody" in err
    status, body = await daemon.request("POST", "/nodes/host-2/update", params={"version": "1"}, json={"Role": "king"})
    assert status == 400
    assert 'invalid Role: "king"' in body["message"]


# --- services ---


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
        assert (status, body["message"].endswith("node host-1; run the command against that node")) == (404, True)
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


# --- secrets and configs ---


async def test_secrets_go_in_and_never_come_out(daemon: Daemon) -> None:
    out, _ = await daemon.docker("secret", "create", "--label", "a=b", "key", "-", stdin=b"hidden words")
    secret = daemon.store.view().secrets.get(out.strip())
    assert secret.spec.data == b"hidden words"
    shown, _ = await daemon.docker("secret", "inspect", "key")
    assert "hidden" not in shown
    assert "aGlkZGVu" not in shown
    out, _ = await daemon.docker("secret", "ls", "--format", "{{.Name}}")
    assert out.split() == ["key"]
    _, err = await daemon.docker("secret", "create", "key", "-", stdin=b"x", check=1)
    assert "name conflicts" in err or "already" in err
    service = await create(daemon, "--name", "web", "--secret", "source=key,target=k,mode=0400,uid=5")
    reference = service.spec.task.container.secrets[0]
    assert (reference.secret_id, reference.file.name, reference.file.mode, reference.file.uid) == (
        secret.id,
        "k",
        0o400,
        "5",
    )
    _, err = await daemon.docker("secret", "rm", "key", check=1)
    assert "in use by" in err
    await daemon.docker("service", "rm", "web")
    await daemon.docker("secret", "rm", "key")
    _, err = await daemon.docker("secret", "inspect", "key", check=1)
    assert "key" in err


async def test_a_secret_over_the_bound_is_refused(daemon: Daemon) -> None:
    _, err = await daemon.docker("secret", "create", "big", "-", stdin=b"x" * 500 * 1024, check=1)
    assert "secret data must be larger than 0 and less than 512000 bytes" in err
    status, body = await daemon.request("POST", "/secrets/create", json={"Name": "x", "Data": "%%%"})
    assert (status, body["message"]) == (400, "illegal base64 data at input byte 0; it is the Data of the secret")


async def test_configs_come_back_as_they_went_in(daemon: Daemon) -> None:
    await daemon.docker("config", "create", "conf", "-", stdin=b"a = 1\n")
    out, _ = await daemon.docker("config", "inspect", "--pretty", "conf")
    assert "a = 1" in out
    service = await create(daemon, "--name", "web", "--config", "source=conf,target=/etc/a.conf")
    assert service.spec.task.container.configs[0].file.name == "/etc/a.conf"
    await daemon.docker("service", "rm", "web")
    await daemon.docker("config", "rm", "conf")


# --- networks ---


async def test_overlays_join_the_predefined_networks_in_the_list(daemon: Daemon) -> None:
    await daemon.docker("network", "create", "-d", "overlay", "--subnet", "10.9.0.0/24", "--attachable", "back")
    out, _ = await daemon.docker("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}")
    assert sorted(out.splitlines()) == [
        "back overlay swarm",
        "bridge bridge local",
        "host host local",
        "none null local",
    ]
    out, _ = await daemon.docker("network", "ls", "--filter", "driver=overlay", "-q")
    assert len(out.split()) == 1
    out, _ = await daemon.docker("network", "inspect", "back", "bridge", "--format", "{{.Name}} {{.Attachable}}")
    assert out.splitlines() == ["back true", "bridge false"]
    _, err = await daemon.docker("network", "create", "-d", "overlay", "--subnet", "10.9.0.0/16", "other", check=1)
    assert "overlap" in err.lower()
    for flags, words in (
        (["-d", "bridge", "--scope", "swarm"], "bridge"),
        (["-d", "overlay", "--opt", "covey.mesh.snat=true"], "create it with --ingress"),
        (["-d", "overlay", "--ipv4=false"], "IPv4 cannot be disabled in a Swarm scoped network"),
        (["-d", "overlay", "--ipam-driver", "dhcp"], "IPAM driver dhcp is not supported"),
    ):
        _, err = await daemon.docker("network", "create", *flags, "new", check=1)
        assert words in err
    _, err = await daemon.docker("network", "rm", "bridge", check=1)
    assert "pre-defined network" in err
    await daemon.docker("network", "rm", "back")
    _, err = await daemon.docker("network", "inspect", "back", check=1)
    assert "network back not found" in err


async def test_a_network_waits_for_tasks_that_leave_and_for_no_others(daemon: Daemon) -> None:
    """``docker stack rm`` asks right behind the end of the services, while their containers still stop."""
    out, _ = await daemon.docker("network", "create", "-d", "overlay", "back")
    service = await create(daemon, "--name", "web", "--network", "back")
    task = await add_task(
        daemon, service, 1, networks=(NetworkAttachment(network_id=out.strip(), address="10.0.1.5/24"),)
    )
    _, err = await daemon.docker("network", "rm", "back", check=1)
    assert "in use by service web" in err
    await daemon.docker("service", "rm", "web")
    removing = asyncio.create_task(daemon.docker("network", "rm", "back"))
    done, _ = await asyncio.wait([removing], timeout=1)
    assert not done, "the task still holds the network"
    ended = replace(daemon.store.view().tasks.get(task.id), status=TaskStatus(state=TaskState.SHUTDOWN))
    await daemon.store.update(lambda tx: tx.update(ended))
    await removing
    assert len(daemon.store.view().networks) == 0


# --- stacks and events ---

STACK = """
services:
  web:
    image: busybox
    command: sleep 9
    environment: {A: "1"}
    secrets: [key]
    networks: [back]
    deploy: {replicas: 2, update_config: {parallelism: 1, order: start-first}}
networks:
  back: {driver: overlay}
secrets:
  key: {file: ./key.txt}
"""


async def test_a_stack_is_deployed_shown_and_removed_by_the_client(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("words")
    (tmp_path / "stack.yml").write_text(STACK)
    deploy = ["stack", "deploy", "--detach", "--resolve-image", "never", "-c", str(tmp_path / "stack.yml"), "shop"]
    await daemon.docker(*deploy)
    service = daemon.store.view().services.by_name("shop_web")
    assert service.spec.annotations.labels["com.docker.stack.namespace"] == "shop"
    version = service.meta.version
    await daemon.docker(*deploy)
    again = daemon.store.view().services.by_name("shop_web")
    assert again.spec_version == service.spec_version, "a second deployment of the same file must not restart tasks"
    assert again.meta.version >= version
    out, _ = await daemon.docker("stack", "ls", "--format", "{{.Name}} {{.Services}}")
    assert out.split() == ["shop", "1"]
    out, _ = await daemon.docker("stack", "services", "shop", "--format", "{{.Name}} {{.Replicas}}")
    assert out.split() == ["shop_web", "0/2"]
    await daemon.docker("stack", "rm", "--detach", "shop")
    assert len(daemon.store.view().services) == 0
    assert len(daemon.store.view().secrets) == 0


async def test_events_of_the_cluster_are_streamed_with_their_scope(daemon: Daemon) -> None:
    async with (
        daemon.session() as session,
        session.get("/events", params={"filters": '{"type":["service","node"]}'}) as stream,
    ):
        assert stream.status == 200
        service = None
        async with asyncio.timeout(20):
            # the watch begins a moment after the answer's head, so changes are made until one is told
            reading = asyncio.create_task(stream.content.readline())
            number = 0
            while not reading.done():
                service = await create(daemon, "--name", f"web{number}")
                number += 1
            event = json.loads(await reading)
    assert service is not None
    assert (event["Type"], event["Action"], event["scope"]) == ("service", "create", "swarm")
    assert event["Actor"]["Attributes"]["name"].startswith("web")


async def test_a_network_object_without_a_vni_is_shown_all_the_same(daemon: Daemon) -> None:
    await daemon.store.update(
        lambda tx: tx.create(
            Network(id="n" * 25, spec=replace(Network(id="x").spec, annotations=Annotations(name="raw")))
        )
    )
    out, _ = await daemon.docker("network", "inspect", "raw", "--format", "{{.Driver}}")
    assert out.strip() == "overlay"
