"""One manager process with agents: join, authorization, task assignment, status reports, logs."""

import contextlib
from collections.abc import AsyncIterator

import grpc
import pytest

from agent.identity import NodeIdentity, join_cluster, renew_certificate
from agent.identity.csr import signing_request
from agent.identity.node_identity import CHANNEL_OPTIONS
from covey.clock import HOUR, wall_clock
from covey.errors import InvalidArgumentError, UnauthenticatedError, UnavailableError
from covey.objects import ContainerStatus, TaskStatus
from covey.objects.assignment import AssignmentKind
from covey.states import NodeRole, TaskState
from coveypb.v1 import ca_pb2, ca_pb2_grpc, control_pb2, control_pb2_grpc, dispatcher_pb2, objects_pb2
from manager.ca import certificates
from tests.support.manager_processes import (
    AgentHost,
    ManagerCluster,
    ManagerHost,
    RecordedLine,
    eventually,
    manager_cluster,
)

pytestmark = pytest.mark.timeout(120)

OUTPUT = (1, 2)
"""Stdout and stderr; the third stream is for errors."""


@contextlib.asynccontextmanager
async def manager_and_agent() -> AsyncIterator[tuple[ManagerCluster, ManagerHost, AgentHost]]:
    async with manager_cluster() as group:
        [manager] = await group.bootstrap(1)
        agent = group.agent()
        await agent.join((await manager.tokens())[NodeRole.WORKER], manager)
        agent.start_session([manager.mtls_addr])
        await eventually("the node to be READY", lambda: _ready(manager, agent.node_id))
        yield group, manager, agent


async def _ready(manager: ManagerHost, node_id: str) -> bool:
    node = await manager.call("GetNode", control_pb2.GetRequest(ref=node_id))
    return bool(node.status.state == objects_pb2.NODE_STATE_READY)


def service(name: str, replicas: int = 1, **more: object) -> control_pb2.CreateServiceRequest:
    spec = objects_pb2.ServiceSpec(annotations=objects_pb2.Annotations(name=name), replicas=replicas)
    spec.task.container.image = "busybox:latest"
    for key, value in more.items():
        setattr(spec.task.container, key, value)
    return control_pb2.CreateServiceRequest(spec=spec)


async def test_a_session_counts_the_seconds_without_a_leader() -> None:
    async with manager_and_agent() as (_, manager, agent):
        session = agent.session
        assert session is not None
        # The manager knows of the session a moment earlier than the agent.
        await eventually("the session", lambda: session.disconnected_seconds == 0)
        await manager.kill()
        await eventually("the time to count", lambda: session.disconnected_seconds > 0)
        before = session.disconnected_seconds
        await eventually(
            "the time to increase while no leader answers", lambda: session.disconnected_seconds > before + 1
        )
        await manager.start("restart")
        await eventually("a session with the leader", lambda: session.disconnected_seconds == 0)


async def test_a_node_with_an_address_in_use_is_refused_until_the_other_node_is_gone() -> None:
    async with manager_and_agent() as (group, manager, agent):
        second = group.agent()
        second.addr = agent.addr
        await second.join((await manager.tokens())[NodeRole.WORKER], manager)
        second.start_session([manager.mtls_addr])
        await eventually("the second node to be refused", lambda: second.refusals)
        assert f"node {agent.node_id} (host-{agent.addr}) has the address {agent.addr} already" in second.refusals[0]
        assert not second.states
        await agent.stop_session()
        await eventually("the second node to be READY", lambda: _ready(manager, second.node_id))


async def test_an_expired_certificate_is_renewed_through_the_local_manager() -> None:
    """1. The host of the only manager is off for longer than its certificate is valid. 2. No manager accepts the certificate over the
    network. 3. The manager on the same host renews it.
    """
    async with manager_cluster() as group:
        manager = group.manager()
        await manager.start("bootstrap")
        before = manager.identities.require()
        long_ago = wall_clock() - 400 * 24 * HOUR
        expired = certificates.issue_certificate(
            certificates.create_root(before.cluster_id, long_ago),
            signing_request(before.key),
            node_id=before.node_id,
            role=before.role,
            cluster_id=before.cluster_id,
            now_ns=long_ago,
            lifetime_ns=HOUR,
        )
        manager.identities.save(NodeIdentity.parse(certificate=expired, key=before.key, root=before.root))
        with pytest.raises(UnavailableError):
            await renew_certificate(manager.identities, [manager.mtls_addr])
        renewed = await renew_certificate(manager.identities, [f"unix:{manager.folder}/run/manager.sock"])
        assert (renewed.node_id, renewed.role) == (before.node_id, NodeRole.MANAGER)
        assert renewed.not_after_ns > wall_clock()


async def test_tasks_are_assigned_and_their_statuses_are_counted() -> None:
    async with manager_and_agent() as (_, manager, agent):
        created = await manager.call("CreateService", service("web", 2))
        await eventually("two tasks", lambda: len(agent.worker.items_of(AssignmentKind.TASK)) == 2)
        for task in agent.worker.items_of(AssignmentKind.TASK):
            agent.worker.report(
                task.id, TaskStatus(state=TaskState.RUNNING, container=ContainerStatus(container_id="c" * 64))
            )

        async def running() -> bool:
            listed = await manager.call("ListServices", control_pb2.ListRequest(ids=[created.id]))
            return (listed.counts[0].running, listed.counts[0].desired) == (2, 2)

        await eventually("both tasks counted as running", running)
        await manager.call("RemoveService", control_pb2.RemoveRequest(ref="web"))
        await eventually(
            "both tasks to be shut down",
            lambda: all(t.desired_state >= TaskState.SHUTDOWN for t in agent.worker.items_of(AssignmentKind.TASK)),
        )
        for task in agent.worker.items_of(AssignmentKind.TASK):
            agent.worker.report(task.id, TaskStatus(state=TaskState.SHUTDOWN))
        await eventually("no task left", lambda: not agent.worker.items_of(AssignmentKind.TASK))


async def test_wrong_and_rotated_tokens_are_refused_each_with_its_own_reason() -> None:
    async with manager_cluster() as group:
        [manager] = await group.bootstrap(1)
        tokens = await manager.tokens()
        host = group.agent()
        with pytest.raises(InvalidArgumentError, match="invalid join token"):
            await join_cluster(host.identities, "SWMTKN-1-nonsense", [manager.join_addr])
        token = tokens[NodeRole.WORKER]
        wrong = token[:-3] + ("aaa" if not token.endswith("aaa") else "bbb")
        with pytest.raises(UnauthenticatedError, match="rotated or mistyped"):
            await join_cluster(host.identities, wrong, [manager.join_addr])
        digest = token.split("-")[2]
        other = token.replace(digest, digest[1:] + digest[0])
        with pytest.raises(UnauthenticatedError, match="does not match the token's digest"):
            await join_cluster(host.identities, other, [manager.join_addr])
        with pytest.raises(UnavailableError, match="no manager answers at"):
            await join_cluster(host.identities, token, [f"{manager.addr}:1"])
        cluster = await manager.call("GetCluster", control_pb2.GetClusterRequest())
        await manager.call(
            "UpdateCluster",
            control_pb2.UpdateClusterRequest(version=cluster.meta.version, rotate_worker_token=True),
        )
        with pytest.raises(UnauthenticatedError, match="rotated or mistyped"):
            await join_cluster(host.identities, token, [manager.join_addr])
        assert host.identities.load() is None
        nodes = (await manager.call("ListNodes", control_pb2.ListRequest())).nodes
        assert len(nodes) == 1, "a refused host left a node object"
        await host.join((await manager.tokens())[NodeRole.WORKER], manager)
        assert host.identities.require().role is NodeRole.WORKER


async def test_a_worker_cannot_call_the_control_api() -> None:
    async with manager_and_agent() as (_, manager, agent):
        async with agent.identities.require().channel(manager.mtls_addr) as channel:
            stub = control_pb2_grpc.ControlStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.ListNodes(control_pb2.ListRequest(), timeout=5)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "a worker may not call Control.ListNodes" in refused.value.details()


async def test_a_certificate_of_another_cluster_fails_the_tls_handshake() -> None:
    async with manager_and_agent() as (group, manager, _), manager_cluster() as other_group:
        [other] = await other_group.bootstrap(1)
        foreign = other.identities.require()
        async with foreign.channel(manager.mtls_addr) as channel:
            stub = control_pb2_grpc.ControlStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.ListNodes(control_pb2.ListRequest(), timeout=5)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_worker_that_poses_as_a_manager_is_rejected() -> None:
    """1. A compromised worker takes a manager's address. 2. Joining hosts and nodes must neither send it anything nor obey it."""
    async with manager_and_agent() as (group, manager, agent):
        worker = agent.identities.require()
        server = grpc.aio.server()
        pair = [(worker.key, worker.certificate)]
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(pair))
        await server.start()
        try:
            with pytest.raises(UnavailableError, match="no Covey manager answers at"):
                await join_cluster(
                    group.agent().identities, (await manager.tokens())[NodeRole.MANAGER], [f"127.0.0.1:{port}"]
                )
            for identity in (worker, manager.identities.require()):
                async with identity.channel(f"127.0.0.1:{port}") as channel:
                    stub = ca_pb2_grpc.CertificateAuthorityStub(channel)
                    with pytest.raises(grpc.aio.AioRpcError) as refused:
                        await stub.GetRootCertificate(ca_pb2.GetRootCertificateRequest(), timeout=5)
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE, (
                    "the handshake did not fail; UNIMPLEMENTED comes after it"
                )
        finally:
            await server.stop(0)


async def test_a_removed_node_cannot_reconnect_or_renew() -> None:
    async with manager_and_agent() as (_, manager, agent):
        await manager.call("RemoveNode", control_pb2.RemoveRequest(ref=agent.node_id, force=True))
        assert agent.task is not None
        with pytest.raises(Exception, match="removed from the cluster"):
            await agent.task
        with pytest.raises(Exception, match="removed from the cluster"):
            await renew_certificate(agent.identities, [manager.mtls_addr])


async def test_a_secret_is_sent_only_to_the_node_with_its_task_and_removed_with_it() -> None:
    async with manager_and_agent() as (group, manager, agent):
        idle = group.agent()
        await idle.join((await manager.tokens())[NodeRole.WORKER], manager)
        idle.start_session([manager.mtls_addr])
        await eventually("the second node to be READY", lambda: _ready(manager, idle.node_id))
        spec = objects_pb2.SecretSpec(annotations=objects_pb2.Annotations(name="pw"), data=b"hunter2")
        secret = await manager.call("CreateSecret", control_pb2.CreateSecretRequest(spec=spec))
        assert secret.spec.data == b"", "the API returned a secret's data"
        request = service("web")
        request.spec.task.container.secrets.add(secret_name="pw")
        await manager.call("CreateService", request)
        holders = await eventually(
            "the secret to arrive", lambda: [a for a in (agent, idle) if a.worker.items_of(AssignmentKind.SECRET)]
        )
        assert len(holders) == 1
        [held] = holders[0].worker.items_of(AssignmentKind.SECRET)
        assert held.spec.data == b"hunter2"
        with pytest.raises(grpc.aio.AioRpcError, match="secret 'pw' is in use by the following service: web"):
            await manager.call("RemoveSecret", control_pb2.RemoveRequest(ref="pw"))
        [task] = holders[0].worker.items_of(AssignmentKind.TASK)
        await manager.call("RemoveService", control_pb2.RemoveRequest(ref="web"))
        await eventually("the secret to be removed", lambda: not holders[0].worker.items_of(AssignmentKind.SECRET))
        holders[0].worker.report(task.id, TaskStatus(state=TaskState.SHUTDOWN))


async def test_logs_of_all_tasks_are_merged_and_a_missing_log_is_an_error_line() -> None:
    async with manager_and_agent() as (_, manager, agent):
        await manager.call("CreateService", service("web", 2))
        await eventually("two tasks", lambda: len(agent.worker.items_of(AssignmentKind.TASK)) == 2)
        first, second = agent.worker.items_of(AssignmentKind.TASK)
        agent.worker.logs[first.id] = [RecordedLine(time_ns=1, stream="stdout", data=b"one\n")]
        for task in (first, second):
            agent.worker.report(task.id, TaskStatus(state=TaskState.RUNNING))

        async def running() -> bool:
            tasks = (await manager.call("ListTasks", control_pb2.ListRequest())).tasks
            return all(task.status.state == TaskState.RUNNING for task in tasks)

        await eventually("both tasks to run", running)
        request = control_pb2.LogsRequest(
            service_refs=["web"], options=dispatcher_pb2.LogOptions(stdout=True, stderr=True, tail=-1)
        )
        async with manager.control() as stub:
            batches = [batch async for batch in stub.Logs(request, timeout=20)]
        lines = [line for batch in batches for line in batch.lines if line.stream in OUTPUT]
        assert [(line.data, line.service_name, line.slot) for line in lines] == [(b"one\n", "web", first.slot)]
        assert any(second.id in batch.error for batch in batches)


async def test_followed_logs_continue_and_a_lost_node_is_an_error_line() -> None:
    async with manager_and_agent() as (_, manager, agent):
        await manager.call("CreateService", service("web"))
        [task] = await eventually("a task", lambda: agent.worker.items_of(AssignmentKind.TASK))
        agent.worker.logs[task.id] = [RecordedLine(time_ns=1, stream="stdout", data=b"one\n")]
        agent.worker.report(task.id, TaskStatus(state=TaskState.RUNNING))
        options = dispatcher_pb2.LogOptions(stdout=True, stderr=True, follow=True, tail=-1)
        seen: list[bytes] = []
        async with manager.control() as stub:
            async for batch in stub.Logs(control_pb2.LogsRequest(service_refs=["web"], options=options), timeout=30):
                seen += [line.data for line in batch.lines if line.stream in OUTPUT]
                if seen == [b"one\n"]:
                    agent.worker.logs[task.id].append(RecordedLine(time_ns=2, stream="stderr", data=b"two\n"))
                if seen == [b"one\n", b"two\n"]:
                    await agent.stop_session()
                if batch.error:
                    assert f"error from node host-{agent.addr}" in batch.error
                    break
        assert seen == [b"one\n", b"two\n"]


async def test_a_new_session_of_a_node_ends_the_previous_one() -> None:
    async with manager_and_agent() as (_, manager, agent):
        again = AgentHost(agent.identities.folder.parents[1], agent.addr)
        again.start_session([manager.mtls_addr])
        await eventually("the second session to begin", lambda: again.states)
        first_id = agent.states[0].session_id
        await eventually("the first node to begin a new session", lambda: agent.states[-1].session_id != first_id)
        await again.stop_session()


async def test_a_client_without_certificate_is_limited_to_small_join_requests() -> None:
    async with manager_cluster() as group:
        manager = group.manager()
        await manager.start("bootstrap")
        root = manager.identities.require().root
        request = ca_pb2.IssueCertificateRequest(csr=b"x" * (1 << 20), token="t")
        credentials = grpc.ssl_channel_credentials(root)
        async with grpc.aio.secure_channel(manager.join_addr, credentials, options=CHANNEL_OPTIONS) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await ca_pb2_grpc.CertificateAuthorityStub(channel).IssueCertificate(request, timeout=10)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
