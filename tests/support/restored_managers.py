"""Backups of running managers, and managers that start from a backup."""

from __future__ import annotations

from pathlib import Path

from coveypb.v1 import control_pb2
from tests.support.manager_processes import ManagerCluster, ManagerHost


async def backup(host: ManagerHost, path: Path) -> str:
    """Write a backup to the file. Returns its key."""
    key = data = b""
    async with host.control() as stub:
        async for part in stub.Backup(control_pb2.BackupRequest(own_key=True)):
            key, data = key + part.key.encode(), data + part.data
    path.write_bytes(data)
    return key.decode()


async def restore(cluster: ManagerCluster, path: Path, key: str) -> ManagerHost:
    host = cluster.manager()
    host.key_cache.backup_key = key
    await host.start("restore", restore_path=str(path))
    host.key_cache.backup_key = ""
    return host
