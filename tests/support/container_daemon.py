"""Daemon process with a ContainerService that a test can kill: `container_daemon.py FOLDER CGROUP_PARENT`.

Each line on stdin is a shell script that it runs in a new container; it prints the container's ID.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from pathlib import Path

from agent.container.model import ContainerConfig
from agent.container.service import ContainerService
from tests.support.loopback_networks import LoopbackNetworks


class Images:
    def __init__(self, layer: Path) -> None:
        self.layer = layer

    def layers(self, image_id: str) -> list[Path]:
        return [self.layer]

    def id_of(self, name: str) -> str:
        return name


async def main(folder: Path, cgroup_parent: str) -> None:
    service = ContainerService(
        folder / "state", folder / "run", cgroup_parent, Images(folder / "image/layer0"), LoopbackNetworks()
    )
    await service.open()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        container_id = secrets.token_hex(32)
        args = ("/bin/sh", "-c", line.strip())
        await service.create(
            ContainerConfig(id=container_id, name=container_id[:8], image="busybox", image_id="x", args=args)
        )
        await service.start(container_id)
        print(container_id, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
