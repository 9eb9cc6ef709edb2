"""A Raft group of ``raft_member`` processes on loopback with their own certificates, for tests and the benchmark."""

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from covey.states import NodeRole
from manager.ca import certificates
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
CLUSTER = "testcluster"
DEADLINE_SECONDS = 20.0


class CommandError(Exception):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


class RaftProcess:
    """One member's process and the commands to it."""

    def __init__(self, config: dict, path: Path) -> None:
        self.config = config
        self.node_id = config["node_id"]
        self.addr = f"127.0.0.1:{config['port']}"
        self._path = path
        self._replies: dict[int, asyncio.Future] = {}
        self._next = 0
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task | None = None

    async def start(self) -> "RaftProcess":
        self._path.write_text(json.dumps(self.config))
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/proto", "GRPC_VERBOSITY": "NONE"}
        with self._path.with_suffix(".log").open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(ROOT / "tests/support/raft_member.py"),
                str(self._path),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                limit=1 << 26,
                env=environment,
            )
        async with asyncio.timeout(DEADLINE_SECONDS):
            line = await self._process.stdout.readline()
            if not line:
                await self._process.wait()
        assert line, f"{self.node_id} did not start:\n{self.stderr_text()[-4000:]}"
        assert json.loads(line)["ready"]
        self._reader = asyncio.ensure_future(self._read(self._process))
        return self

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        while line := await process.stdout.readline():
            reply = json.loads(line)
            future = self._replies.pop(reply["id"])
            if not future.done():
                if "error" in reply:
                    future.set_exception(CommandError(reply["error"], reply["message"]))
                else:
                    future.set_result(reply["result"])
        for future in self._replies.values():
            if not future.done():
                future.set_exception(CommandError("Gone", f"{self.node_id} has ended"))
        self._replies.clear()

    def stderr_text(self) -> str:
        """Text on stderr, over all restarts."""
        return self._path.with_suffix(".log").read_text()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def folder(self) -> Path:
        return Path(self.config["folder"])

    async def __call__(self, op: str, *, timeout_seconds: float = DEADLINE_SECONDS, **args: object) -> object:
        if not self.is_running:
            raise CommandError("Gone", f"{self.node_id} is not running")
        self._next += 1
        future: asyncio.Future = asyncio.get_running_loop().create_future()
        self._replies[self._next] = future
        self._process.stdin.write(json.dumps({"id": self._next, "op": op, "args": args}).encode() + b"\n")
        async with asyncio.timeout(timeout_seconds):
            return await future

    def peak_mib(self) -> float:
        """Peak memory of the current process in MiB."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("/proc/PID/status has no VmHWM")

    @property
    def _stall(self) -> Path:
        return self.folder.with_name("stall")

    def stall_disk(self) -> None:
        """Let no flush return from now on."""
        self._stall.touch()

    def resume_disk(self) -> None:
        self._stall.unlink()

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """Kill the process with SIGKILL."""
        if self.is_running:
            self._process.kill()
        await self.wait()

    async def wait(self) -> int:
        async with asyncio.timeout(DEADLINE_SECONDS):
            code = await self._process.wait()
            if self._reader:
                await self._reader
        return code


class RaftGroup:
    """Members by node id. ``add`` creates the group with the first and joins the others."""

    def __init__(self, folder: Path, **tuning: int) -> None:
        self.folder = folder
        self.members: dict[str, RaftProcess] = {}
        self.data_key = secrets.token_bytes(32)
        self._tuning = tuning
        self._root = certificates.create_root(CLUSTER, time.time_ns())

    async def add(self, node_id: str, **changes: object) -> RaftProcess:
        folder = self.folder / node_id
        folder.mkdir()
        key, request = certificates.new_csr()
        cert = certificates.issue_certificate(
            self._root,
            request,
            node_id=node_id,
            role=NodeRole.MANAGER,
            cluster_id=CLUSTER,
            now_ns=time.time_ns(),
            lifetime_ns=10**14,
        )
        for name, content in (("root.crt", self._root.cert), ("node.key", key), ("node.crt", cert)):
            (folder / name).write_bytes(content)
        config = {
            "node_id": node_id,
            "cluster_id": CLUSTER,
            "folder": str(folder / "raft"),
            "data_key": self.data_key.hex(),
            "root": str(folder / "root.crt"),
            "key": str(folder / "node.key"),
            "cert": str(folder / "node.crt"),
            "port": free_port(),
            "join": [member.addr for member in self.members.values() if member.is_running],
            "tuning": self._tuning,
            **changes,
        }
        member = RaftProcess(config, folder / "config.json")
        self.members[node_id] = member
        return await member.start()

    async def add_three(self) -> None:
        for node_id in ("alpha", "beta", "gamma"):
            await self.add(node_id)
        await self.wait_voters(3)

    async def leader(self) -> RaftProcess:
        """Wait for a leader and return it."""

        async def find() -> RaftProcess | None:
            found = [(await status_of(member), member) for member in list(self.members.values()) if member.is_running]
            leading = [(status["term"], member.node_id, member) for status, member in found if status.get("leader")]
            return max(leading)[2] if leading else None

        return await until(find, "a leader")

    async def followers(self) -> list[RaftProcess]:
        leader = await self.leader()
        return [member for member in self.members.values() if member is not leader and member.is_running]

    async def wait_voters(self, count: int) -> None:
        """Wait until every reachable member knows ``count`` voters. The leader's count is not enough: a promotion takes effect on a node when
        it is applied there, and if the leader crashes before that, the others cannot elect without it.
        """

        async def enough() -> bool:
            await self.leader()
            seen = [await status_of(member) for member in list(self.members.values()) if member.is_running]
            counts = [[member["voter"] for member in status["members"]] for status in seen if status]
            return bool(counts) and all(voters == [True] * count for voters in counts)

        await until(enough, f"{count} voters known to all members")

    async def wait_connected(self, count: int) -> None:
        """Wait until the leader reaches ``count`` voters, including itself."""

        async def enough() -> bool:
            members = (await status_of(await self.leader())).get("members", [])
            return sum(member["voter"] and member["reachable"] for member in members) == count

        await until(enough, f"{count} reachable voters")

    async def close(self) -> None:
        for member in self.members.values():
            if member.is_running:
                member.resume()
                await member.kill()


async def status_of(member: RaftProcess) -> dict:
    try:
        return await member("status", timeout_seconds=2)
    except (CommandError, TimeoutError):
        return {}


async def until(check: Callable[[], Awaitable], what: str, seconds: float = DEADLINE_SECONDS) -> object:
    """Waits for a condition with a deadline."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = await check()
        if found:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"there was no {what} within {seconds} s")


@asynccontextmanager
async def raft_group(folder: Path, **tuning: int) -> AsyncIterator[RaftGroup]:
    made = RaftGroup(folder, **tuning)
    try:
        yield made
    finally:
        await made.close()
