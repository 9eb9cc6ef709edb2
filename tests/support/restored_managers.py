"""Backups of managers that run, and managers that begin with one."""

from __future__ import annotations

from pathlib import Path

from coveypb.v1 import control_pb2
from tests.support.manager_processes import ManagerCluster, ManagerHost


async def backup(host: ManagerHost, path: Path) -> str:
    """Into a file, which is sealed with a key of its own: that key."""
    key = data = b""
    async with host.control() as stub:
        async for part in stub.Backup(control_pb2.BackupRequest(own_key=True)):
            key, data = key + part.key.encode(), data + part.data
    path.write_bytes(data)
    return key.decode()


async def restore(here: ManagerCluster, path: Path, key: str) -> ManagerHost:
    host = here.manager()
    host.key_cache.backup_key = key
    await host.start("restore", restore_path=str(path))
    host.key_cache.backup_key = ""
    return host
