"""A backup of the whole store from a live cluster: taken by any manager, without holding up a write.

Law: it holds everything that was acknowledged before it was asked for, and is one moment of the store: a view, taken once a majority
confirmed that nothing newer was acknowledged. It leaves this process sealed.
"""

import asyncio
from collections.abc import AsyncIterator

from coveypb.v1 import control_pb2
from manager import backup
from manager.store import Store


async def stream_backup(
    store: Store, request: control_pb2.BackupRequest, now_ns: int
) -> AsyncIterator[control_pb2.BackupPart]:
    """The file in parts; the first says which key opens it.

    Raises:
        DeadlineError, UnavailableError: no majority confirmed in time that the state is the latest. InvalidArgumentError: that is no key.
    """
    await store.consensus.read_index()
    view, members, term = store.view(), store.consensus.members(), store.consensus.leadership.term
    cluster = view.cluster
    key = request.key or ("" if request.own_key else cluster.unlock_key)
    made = "" if key else backup.new_key()
    parts = backup.seal(view, members, cluster, key or made, term=term, now_ns=now_ns)
    yield control_pb2.BackupPart(key=made)
    while (part := await asyncio.to_thread(next, parts, b"")) != b"":
        yield control_pb2.BackupPart(data=part)
