"""Cluster members that renew their certificates as the daemon does, for the tests of certificates.

Managers are real processes. Every member has a real session. All of them end when the test ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from cryptography import x509

from agent.identity import CertificateRenewer, DesiredCertificate, join_cluster
from covey import codec
from covey.objects import Cluster, ClusterSpec, Node, replace
from covey.states import NodeRole
from coveypb.v1 import control_pb2
from tests.support import manager_processes
from tests.support.manager_processes import AgentHost, ManagerCluster, ManagerHost, eventually


class RenewingMember(AgentHost):
    """Member that renews its certificate as its managers request."""

    def start_renewal(self, managers: list[str], group: asyncio.TaskGroup) -> asyncio.Task[None]:
        session = self.start_session(managers)
        renewer = CertificateRenewer(self.identities, lambda: session.managers, session.notify_description_changed)
        seen = 0

        async def follow() -> None:
            nonlocal seen
            while True:
                for state in self.states[seen:]:
                    issuer = (state.issuer_subject, state.issuer_public_key)
                    renewer.set_desired(
                        DesiredCertificate(
                            roots=state.root_certificates,
                            issuer=issuer,
                            validity_ns=state.certificate_life_ns,
                            spread_ns=state.renewal_spread_ns,
                        )
                    )
                seen = len(self.states)
                await asyncio.sleep(0.02)

        group.create_task(follow())
        return group.create_task(renewer.run())


async def cluster_of(host: ManagerHost) -> Cluster:
    return codec.from_wire(Cluster, await host.call("GetCluster", control_pb2.GetClusterRequest()))


async def update(host: ManagerHost, change: Any) -> Cluster:
    cluster = await cluster_of(host)
    request = control_pb2.UpdateClusterRequest(version=cluster.meta.version)
    spec: ClusterSpec = replace(cluster.spec, ca=change(cluster.spec.ca))
    codec.write(spec, request.spec)
    return codec.from_wire(Cluster, await host.call("UpdateCluster", request))


async def rotate(host: ManagerHost) -> Cluster:
    return await update(host, lambda ca: replace(ca, force_rotate=ca.force_rotate + 1))


@contextlib.asynccontextmanager
async def cluster_with_renewal(
    managers: int = 1,
) -> AsyncIterator[tuple[ManagerCluster, list[ManagerHost], list[RenewingMember], asyncio.TaskGroup]]:
    """Managers that renew their certificates. `add_worker` adds more members."""
    async with manager_processes.manager_cluster() as cluster:
        hosts = await cluster.bootstrap(managers)
        addrs = [host.mtls_addr for host in hosts]
        members = [RenewingMember(host.folder, host.addr) for host in hosts]
        async with asyncio.TaskGroup() as group:
            cluster.agents += members
            tasks = [one.start_renewal(addrs, group) for one in members]
            for one in members:
                await eventually("a session", lambda one=one: one.states)
            try:
                yield cluster, hosts, members, group
            finally:
                for one in cluster.agents:
                    await one.stop_session()
                for task in (*tasks, *group._tasks):  # noqa: SLF001 - the members' own loops
                    task.cancel()


async def add_worker(
    cluster: ManagerCluster, host: ManagerHost, group: asyncio.TaskGroup, token: str = "", *, renews: bool = True
) -> RenewingMember:
    number = 100 + len(cluster.agents)
    one = RenewingMember(Path(host.folder).parent / f"a{number}", host.addr.rpartition(".")[0] + f".{number}")
    cluster.agents.append(one)
    await join_cluster(one.identities, token or (await host.tokens())[NodeRole.WORKER], [host.join_addr])
    if renews:
        one.start_renewal([host.mtls_addr], group)
    else:
        one.start_session([host.mtls_addr])
    await eventually("a session", lambda: one.states)
    return one


def root_count(one: AgentHost) -> int:
    return len(x509.load_pem_x509_certificates(one.identities.require().root))


async def nodes(host: ManagerHost) -> list[Node]:
    return [codec.from_wire(Node, node) for node in (await host.call("ListNodes", control_pb2.ListRequest())).nodes]


async def all_nodes_report_tls(host: ManagerHost, ids: set[str], tls: Any) -> bool:
    return all(node.description.tls == tls for node in await nodes(host) if node.id in ids)


async def is_rotation_complete(host: ManagerHost) -> bool:
    return (await cluster_of(host)).root_ca.rotation is None
