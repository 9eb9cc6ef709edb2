"""Whether a manager's certificate is from a root that the node trusts, and what a session says if not; real TLS on loopback."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.identity.csr import new_key, signing_request
from agent.identity.node_identity import NodeIdentity
from agent.session import AgentSession
from agent.session.status_queue import StatusQueue
from agent.session.tls_check import is_untrusted
from covey.clock import HOUR, wall_clock
from covey.objects import NodeDescription
from covey.states import NodeRole
from manager.ca import certificates
from tests.support.no_images import NoImages
from tests.support.no_networks import NoNetworks


def certificate_for(root: certificates.RootPair, key: bytes, role: NodeRole) -> bytes:
    return certificates.issue_certificate(
        root, signing_request(key), node_id="n1", role=role, cluster_id="c", now_ns=wall_clock(), lifetime_ns=HOUR
    )


@asynccontextmanager
async def manager(folder: Path, root: certificates.RootPair, role: NodeRole = NodeRole.MANAGER) -> AsyncIterator[str]:
    """The address of a TLS server with a node's certificate from this root."""
    key = new_key()
    certificate = certificate_for(root, key, role)
    (folder / "cert").write_bytes(certificate)
    (folder / "key").write_bytes(key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert", folder / "key")
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_root_that_did_not_issue_the_managers_certificate_does_not_trust_it(tmp_path: Path) -> None:
    ours, theirs = (certificates.create_root("c", wall_clock()) for _ in range(2))
    async with manager(tmp_path, ours) as addr:
        assert await is_untrusted(addr, theirs.cert)
        assert not await is_untrusted(addr, ours.cert)
        assert not await is_untrusted(addr, theirs.cert + ours.cert)


async def test_the_name_in_a_certificate_is_not_a_question_of_trust(tmp_path: Path) -> None:
    """A worker that answers in a manager's place is refused by gRPC, for another reason."""
    ours = certificates.create_root("c", wall_clock())
    async with manager(tmp_path, ours, NodeRole.WORKER) as addr:
        assert not await is_untrusted(addr, ours.cert)


async def test_a_manager_that_cannot_be_reached_is_not_called_untrusted(tmp_path: Path) -> None:
    root = certificates.create_root("c", wall_clock())
    async with manager(tmp_path, root) as addr:
        pass
    for nowhere in (addr, "unix:/run/manager.sock", "[::1]:1"):
        assert not await is_untrusted(nowhere, root.cert)


class Identities:
    """The identity of a node, without files."""

    def __init__(self, identity: NodeIdentity) -> None:
        self._identity = identity

    def require(self) -> NodeIdentity:
        return self._identity


class Worker:
    """A worker that nothing is assigned to."""

    statuses = StatusQueue()

    def set_dispatcher(self, stub: object) -> None:
        """Single containers are not part of this test."""


async def test_a_session_says_that_the_node_does_not_trust_the_managers_and_keeps_trying(tmp_path: Path) -> None:
    """Seen as: a node that was away during a root rotation only said that no connection was possible."""
    ours, theirs = (certificates.create_root("c", wall_clock()) for _ in range(2))
    key = new_key()
    identity = NodeIdentity.parse(certificate=certificate_for(ours, key, NodeRole.WORKER), key=key, root=ours.cert)
    refusals: asyncio.Queue[str] = asyncio.Queue()
    async with manager(tmp_path, theirs) as addr, asyncio.timeout(20), asyncio.TaskGroup() as group:
        session = AgentSession(
            Identities(identity), [addr], Worker(), NoImages(), NodeDescription, networks=NoNetworks(), on_refused=refusals.put_nowait,  # type: ignore[arg-type]
        )  # fmt: skip
        running = group.create_task(session.run())
        for _ in range(2):
            assert "does not trust the root" in await refusals.get()
        running.cancel()
