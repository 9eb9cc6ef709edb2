"""Locked manager processes and checks of their encrypted files, for the tests of keys at rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coveypb.v1 import control_pb2
from manager.keys import data_keys
from manager.keys.node_key import sealed_with
from tests.support.manager_processes import ManagerHost

SPEC = {"annotations": {"name": "default"}, "auto_lock": True, "raft": {"snapshot_interval": 40}}


async def unlock_key(host: ManagerHost) -> str:
    return str((await host.call("GetUnlockKey", control_pb2.GetUnlockKeyRequest())).unlock_key)


async def update(host: ManagerHost, **changes: Any) -> None:
    cluster = await host.call("GetCluster", control_pb2.GetClusterRequest())
    await host.call("UpdateCluster", control_pb2.UpdateClusterRequest(version=cluster.meta.version, **changes))


def keys_path(host: ManagerHost) -> Path:
    return host.folder / "state" / "manager" / "keys"


def is_sealed_with(host: ManagerHost, key: str) -> bool:
    """Whether everything on disk is encrypted with this unlock key and one data key."""
    try:
        keys = data_keys.read(keys_path(host), (key,) if key else ())
    except data_keys.LockedError:
        return False
    key_id = sealed_with((host.folder / "state" / "identity" / "node.key").read_bytes())
    return (
        keys is not None
        and not keys.retired_ids
        and keys.unlock_key == key
        and key_id == (keys.ring.current if key else 0)
    )


def can_decrypt(host: ManagerHost, key: str) -> bool:
    try:
        return data_keys.read(keys_path(host), (key,)) is not None
    except data_keys.LockedError:
        return False
