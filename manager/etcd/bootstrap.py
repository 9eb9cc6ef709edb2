"""Bootstrap of a cluster on etcd: create the cluster, join the group, or fetch the store key from another manager.

Invariant: one transaction that requires an empty prefix creates the cluster, so two founders end as one cluster and one clear error.
Invariant: this host stores nothing of the cluster but STATE/identity: the certificate, and beside it the store key.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from grpc import aio

from covey import codec
from covey.clock import wall_clock
from covey.errors import ConflictError, CoveyError, DeadlineError, UnavailableError
from covey.objects import Cluster, Node
from covey.states import NodeRole
from coveypb.etcd import rpc_pb2
from coveypb.v1 import engine_pb2, engine_pb2_grpc, objects_pb2
from manager.etcd.client import EtcdClient
from manager.etcd.encryption import ValueCipher
from manager.etcd.errors import DatabaseFullError, NoAnswerError
from manager.etcd.keyspace import Keyspace
from manager.etcd.transactions import initial_put
from manager.grpc_status import error_from_rpc
from manager.identity import CHANNEL_OPTIONS, ManagerIdentity
from manager.store.consensus import RemovedError

log = logging.getLogger(__name__)

Compare = rpc_pb2.Compare

BOOTSTRAP_SECONDS = 20.0
_CALL_SECONDS = 3.0
_PAUSE_SECONDS = 0.2


async def create_cluster(client: EtcdClient, cipher: ValueCipher, cluster: Cluster, node: Node, addr: str) -> None:
    """Writes the first two objects and the first member, if the prefix is empty.

    Raises:
        ConflictError: the prefix is not empty; DeadlineError: etcd does not answer, and the cluster may have been created. After any other
        error no cluster was created.
    """
    keys, now_ns = Keyspace(client.target.prefix), wall_clock()
    request = rpc_pb2.TxnRequest()
    request.compare.add(target=Compare.CREATE, key=keys.first, range_end=keys.end, create_revision=0)
    for key in keys.ancestor_clusters:
        request.compare.add(target=Compare.CREATE, key=key, create_revision=0)
    wires = (("cluster", codec.to_wire(cluster)), ("node", codec.to_wire(node)))
    request.success.extend([initial_put(keys, cipher, kind, wire, now_ns) for kind, wire in wires])
    for key, value in ((keys.cluster, cluster.id), (keys.member(node.id), addr)):
        request.success.add(request_put=rpc_pb2.PutRequest(key=key, value=value.encode()))
    for key in (keys.cluster, *keys.ancestor_clusters):
        request.failure.add(request_range=rpc_pb2.RangeRequest(key=key))

    async def attempt() -> None:
        try:
            answer = await client.txn(request)
        except DatabaseFullError:  # the transaction may have been executed all the same
            there = (await client.range(rpc_pb2.RangeRequest(key=keys.cluster))).kvs
            if there and there[0].value == cluster.id.encode():
                return
            raise
        if answer.succeeded:
            return
        found, *above = [{kv.key: kv.value.decode() for kv in one.response_range.kvs} for one in answer.responses]
        owner = found.get(keys.cluster, "")
        if owner == cluster.id:
            return  # an earlier attempt succeeded, only its answer was lost
        for key, other in [pair for one in above for pair in one.items()]:
            where = key.removesuffix(b"/cluster").decode()
            raise ConflictError(
                f"{client.target} lies within {where}, which is the prefix of cluster {other}: choose a prefix outside of it"
            )
        what = f"cluster {owner}" if owner else "keys that belong to no cluster"
        raise ConflictError(f"{client.target} already holds {what}: join it with a token, or choose another prefix")

    try:
        await _retry_lost_calls(client, attempt)
    except DeadlineError as error:
        raise DeadlineError(
            f"{error.message}. The cluster may have been created there: 'etcdctl del --prefix {client.target.prefix}/' deletes it"
        ) from error
    log.info("created cluster %s at %s", cluster.id, client.target)


async def join_group(client: EtcdClient, cipher: ValueCipher, identity: ManagerIdentity, addr: str) -> None:
    """Makes this node a member of the group, if it is a manager of the cluster. No effect on a member.

    Raises:
        RemovedError: it is no manager; ConflictError: the prefix holds another cluster; DeadlineError: etcd does not answer.
    """
    keys, peer = Keyspace(client.target.prefix), identity.peer
    own, node_key = keys.member(peer.node_id), keys.object("node", peer.node_id)
    look = rpc_pb2.TxnRequest()
    for key in (keys.cluster, own, node_key):
        look.success.add(request_range=rpc_pb2.RangeRequest(key=key))

    async def attempt() -> None:
        answer = await client.txn(look)
        cluster, member, node = [list(one.response_range.kvs) for one in answer.responses]
        require_cluster(client, cluster[0].value.decode() if cluster else "", peer.cluster_id)
        if member:
            return
        wire = objects_pb2.Node.FromString(cipher.open(node_key, node[0].value)) if node else objects_pb2.Node()
        if codec.from_wire(Node, wire).role is not NodeRole.MANAGER:
            raise RemovedError(f"node {peer.node_id} is not a manager of this cluster")
        request = rpc_pb2.TxnRequest()
        request.compare.add(target=Compare.MOD, key=node_key, mod_revision=node[0].mod_revision)
        request.success.add(request_put=rpc_pb2.PutRequest(key=own, value=addr.encode()))
        if not (await client.txn(request)).succeeded:
            raise NoAnswerError("the node object changed meanwhile")

    await _retry_lost_calls(client, attempt)


def require_cluster(client: EtcdClient, found: str, own: str) -> None:
    """Raises ConflictError if the prefix does not hold this node's cluster."""
    if found != own:
        what = f"cluster {found}" if found else "no cluster"
        raise ConflictError(
            f"{client.target} holds {what}, and this node belongs to cluster {own}: start coveyd with the --store of the other managers"
        )


async def fetch_store_key(identity: ManagerIdentity, addrs: Sequence[str]) -> bytes:
    """Fetches the store key from another manager.

    Raises:
        DeadlineError: no manager answered; CoveyError: one refused, with its reason.
    """
    last: CoveyError = UnavailableError("no manager address is known")
    try:
        async with asyncio.timeout(BOOTSTRAP_SECONDS):
            while addrs:
                for addr in addrs:
                    channel = aio.secure_channel(addr, identity.channel_credentials(), options=CHANNEL_OPTIONS)
                    async with channel:
                        try:
                            stub: Any = engine_pb2_grpc.StoreEngineStub(channel)
                            answer = await stub.GetStoreKey(engine_pb2.StoreKeyRequest(), timeout=_CALL_SECONDS)
                            return bytes(answer.key)
                        except aio.AioRpcError as failure:
                            last = error_from_rpc(failure)
                    if not isinstance(last, UnavailableError | DeadlineError):
                        raise last
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError:
        pass
    raise DeadlineError(
        f"no manager sent the store key within {BOOTSTRAP_SECONDS:g} s; the last error was: {last.message}"
    )


async def _retry_lost_calls(client: EtcdClient, attempt: Callable[[], Awaitable[None]]) -> None:
    """Repeats an attempt until etcd answers. An attempt must be repeatable."""
    try:
        async with asyncio.timeout(BOOTSTRAP_SECONDS):
            while True:
                try:
                    await attempt()
                except NoAnswerError:
                    await asyncio.sleep(_PAUSE_SECONDS)
                else:
                    return
    except TimeoutError:
        raise DeadlineError(
            f"{client.target} did not answer within {BOOTSTRAP_SECONDS:g} s: {client.unavailable_reason}"
        ) from None
