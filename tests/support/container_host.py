"""Container host for tests: a ContainerService with a busybox image, and a tear-down that leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from agent.container.model import ContainerConfig
from agent.container.service import ContainerService
from agent.runtime import cgroup, mounts, process
from tests.support.loopback_networks import LoopbackNetworks

APPLETS = "sh sleep cat echo true false id ls stat stty tty head env hostname mkdir touch usleep wc kill grep ps mount dd trap"


class BusyboxImages:
    """Image store with one image of one or more layers."""

    def __init__(self, folder: Path, count: int = 1) -> None:
        self.folders = [folder / f"layer{i}" for i in range(count)]
        for path in self.folders:
            path.mkdir(parents=True)
        base = self.folders[0]
        for name in ("bin", "etc", "tmp", "var"):
            (base / name).mkdir()
        (base / "tmp").chmod(0o1777)
        shutil.copy("/bin/busybox", base / "bin/busybox")
        for applet in APPLETS.split():
            (base / "bin" / applet).symlink_to("busybox")
        (base / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:web:/home/web:/bin/sh\n")
        (base / "etc/group").write_text("root:x:0:\nweb:x:1001:\nextra:x:2000:web\n")

    def layers(self, image_id: str) -> list[Path]:
        return self.folders

    def id_of(self, name: str) -> str:
        return name


class Host:
    """Directories and a cgroup of one container host; `service` makes daemons on them, one after the other."""

    def __init__(self, folder: Path, image_layers: int = 1) -> None:
        self.name = f"covey-test-{secrets.token_hex(4)}"
        self.state, self.run = folder / "state", folder / "run"
        self.images = BusyboxImages(folder / "image", image_layers)
        self.cgroup_parent = f"/{self.name}"

    def service(self) -> ContainerService:
        return ContainerService(self.state, self.run, self.cgroup_parent, self.images, LoopbackNetworks())

    def config(self, *args: str, **changes: object) -> ContainerConfig:
        container_id = secrets.token_hex(32)
        defaults: dict[str, object] = {
            "id": container_id,
            "name": f"c-{container_id[:8]}",
            "image": "busybox",
            "image_id": "x",
        }
        return ContainerConfig(**{**defaults, "args": args, **changes})

    def monitors(self) -> list[int]:
        """PIDs of this host's conmon processes."""
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                with contextlib.suppress(OSError):
                    line = (path / "cmdline").read_bytes()
                    if line.startswith(b"conmon\0") and os.fsencode(self.run) in line:
                        found.append(int(path.name))
        return found

    def tear_down(self) -> None:
        """Kill running containers and remove everything they leave."""
        groups = cgroup.detect()
        root = self.run / "runtime"
        for state in root.iterdir() if root.is_dir() else []:
            subprocess.run(
                ["runc", f"--root={root}", "delete", "--force", state.name],
                capture_output=True,
                timeout=30,
                check=False,
            )
        for name in cgroup.children(groups, self.cgroup_parent):
            cgroup.kill_all(groups, f"{self.cgroup_parent}/{name}")
        for pid in self.monitors():
            fd = process.open_pidfd(pid)
            if fd is not None:
                process.send_signal(fd, 9)
                os.close(fd)
        for target in mounts.mount_points_below(self.state.parent):
            mounts.unmount(target)
        cgroup.remove(groups, self.cgroup_parent)

    def leftovers(self) -> list[str]:
        """Mounts, cgroups and bundles that exist now."""
        groups = cgroup.detect()
        bundles = [str(p) for p in (self.run / "bundles").iterdir()] if (self.run / "bundles").exists() else []
        return (
            mounts.mount_points_below(self.state.parent) + sorted(cgroup.children(groups, self.cgroup_parent)) + bundles
        )


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until the condition is true. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  the kernel's state has no event to wait for
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(host: Host) -> AsyncIterator[ContainerService]:
    service = host.service()
    await service.open()
    try:
        yield service
    finally:
        await service.close()
