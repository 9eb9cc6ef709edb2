"""Daemon that makes, starts and removes one container and kills itself before one of the steps: `container_steps.py FOLDER CGROUP STEP`.

A step is a call that changes something on disk or in the kernel. Without a kill it prints `DONE` and the number of steps.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from pathlib import Path

from agent.container.model import ContainerConfig, ContainerMount, MountKind
from agent.container.service import ContainerService
from tests.support.container_daemon import Images
from tests.support.loopback_networks import LoopbackNetworks
from tests.support.worker_node import CrashSteps

STEPS = [
    "agent.container.store:ContainerStore.insert",
    "agent.container.store:ContainerStore.save_state",
    "agent.container.store:ContainerStore.delete",
    "agent.volume.local:VolumeStore.create",
    "agent.volume.local:VolumeStore.remove",
    "agent.runtime.conmon:Conmon.create",
    "agent.runtime.runc:OciRuntime.start",
    "pathlib:Path.rename",
]


async def main(folder: Path, cgroup_parent: str, steps: CrashSteps) -> None:
    images = Images(folder / "image/layer0")
    service = ContainerService(folder / "state", folder / "run", cgroup_parent, images, LoopbackNetworks())
    await service.open()
    steps.count = 0  # what opening did does not count
    config = ContainerConfig(
        id=secrets.token_hex(32), name="web", image="busybox", image_id="x",
        args=("/bin/sh", "-c", "echo x >/file; echo x >/data/file; while :; do usleep 9999; done"),
        mounts=(ContainerMount(kind=MountKind.VOLUME, target="/data"),),
    )  # fmt: skip
    made = await service.create(config)
    await service.start(made.id)
    await service.remove(made.id, force=True, volumes=True)
    print("DONE", steps.count, flush=True)
    await service.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], CrashSteps(int(sys.argv[3]), STEPS)))
