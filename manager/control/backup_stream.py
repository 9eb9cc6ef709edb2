"""Backup of the whole store of a running cluster, streamed by any manager without blocking writes.

Invariant: the backup is one view of the store, taken after a majority has confirmed that it has every write acknowledged before the call.
It is encrypted before it leaves the process.
"""

import asyncio
from collections.abc import AsyncIterator

from coveypb.v1 import control_pb2
from manager import backup
from manager.store import Store


async def stream_backup(
    store: Store, request: control_pb2.BackupRequest, now_ns: int
) -> AsyncIterator[control_pb2.BackupPart]:
    """The file in parts. The first part has the new key, if the file has one of its own.

    Raises:
        DeadlineError, UnavailableError: no majority confirmed in time that the state is current. InvalidArgumentError: the key is invalid.
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
