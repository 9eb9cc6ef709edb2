"""A reconciler on namespaces of its own: a host, the sandbox of a network, and that of a container. No packet leaves them."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from agent.network import links, netns
from agent.network.namespace_state import HOST, container_key, network_key
from agent.network.netns import Namespace
from agent.network.plan.diff import Difference
from agent.network.reconciler import Reconciler

PREFIX = "cvt"
NETWORK, CONTAINER = network_key("n1"), container_key("c1")


class ReconciledNamespaces:
    """`keys` lead to the files of the namespaces."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: dict[str, Path] = {}
        self.reconciler = self.new_reconciler()

    def new_reconciler(self) -> Reconciler:
        return Reconciler(PREFIX, lambda: Namespace(str(self.paths[HOST])))

    def add(self, key: str) -> Path:
        """Create a namespace with its loopback up."""
        path = self.folder / key.replace("/", "-")
        netns.create(path)
        self.paths[key] = path
        self.shell(key, "ip link set lo up")
        return path

    def open_all(self, reconciler: Reconciler) -> None:
        for key, path in self.paths.items():
            if key != HOST:
                reconciler.open_namespace(key, path)

    def shell(self, key: str, command: str) -> str:
        """Run a command in a namespace with the usual tools, as any administrator would."""
        done = subprocess.run(
            ["nsenter", f"--net={self.paths[key]}", "sh", "-ec", command],
            check=False,
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    async def settled(self) -> tuple[Difference, ...]:
        """The differences after what is still under way, such as a veth pair that is made again, has ended."""
        for _ in range(4):
            for worker in self.reconciler._workers.values():
                await worker.request()
        return await self.reconciler.verify()


@asynccontextmanager
async def reconciled_namespaces(
    folder: Path, keys: Sequence[str] = (HOST, NETWORK, CONTAINER)
) -> AsyncIterator[ReconciledNamespaces]:
    async with AsyncExitStack() as stack:
        spaces = ReconciledNamespaces(folder)
        for key in keys:
            stack.callback(links.remove_namespace, spaces.add(key))
        await spaces.reconciler.start()

        async def close() -> None:
            await spaces.reconciler.close()

        stack.push_async_callback(close)
        spaces.open_all(spaces.reconciler)
        yield spaces
