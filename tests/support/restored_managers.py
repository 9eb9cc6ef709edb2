"""Backups of managers that run, and managers that begin with one."""

from __future__ import annotations

from pathlib import Path

from coveypb.v1 import control_pb2
from tests.support.manager_processes import ManagerHost, World


async def backup(host: ManagerHost, path: Path) -> str:
    """Into a file, which is sealed with a key of its own: that key."""
    key = data = b""
    async with host.control() as stub:
        async for part in stub.Backup(control_pb2.BackupRequest(own_key=True)):
            key, data = key + part.key.encode(), data + part.data
    path.write_bytes(data)
    return key.decode()


async def restore(here: World, path: Path, key: str) -> ManagerHost:
    host = here.manager()
    host.vault.backup_key = key
    await host.start("restore", restore_path=str(path))
    host.vault.backup_key = ""
    return host
