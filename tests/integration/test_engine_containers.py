"""Engine API for containers, logs and terminals: the real docker client and SDK with real containers."""

import asyncio
import contextlib
import json
import os
import pty
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import docker
import pytest

from agent.build.service import BuildService
from agent.container.service import ContainerService
from agent.image.registry.service import RegistryService
from agent.image.store import ImageStore
from agent.local_network.networks import LocalNetworks
from engine.app import build_app
from engine.control_client import ControlClient
from engine.server import serving
from tests.support.api_daemon import CLI_SECONDS, AgentParts, Daemon, FakeNode
from tests.support.container_host import Host
from tests.support.local_networks import HostNetworks, RecordedFragments, RecordedNetworks, open_local
from tests.support.loopback_networks import LoopbackNetworks

pytestmark = pytest.mark.root


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    host = Host(tmp_path)
    images = ImageStore(tmp_path / "images")
    containers: ContainerService = host.service()
    node, control = FakeNode(tmp_path), ControlClient(str(tmp_path / "none.sock"))
    registry = LocalNetworks(tmp_path / "networks.db", engine_id=node.engine_id, bridge="covey0")
    local = await open_local(tmp_path, RecordedNetworks(), RecordedFragments(), registry)
    registries = RegistryService(images.repository)
    builds = BuildService(
        tmp_path / "state", tmp_path / "run", images, registries, LoopbackNetworks(), cgroup_parent="/covey-test"
    )
    parts = AgentParts(images, registries, containers, containers.volumes, HostNetworks(local), builds)
    try:
        await images.start()
        await containers.open()
        async with serving(build_app(parts, node, control), tmp_path / "covey.sock"):
            made = Daemon(tmp_path / "covey.sock", node, parts, None, None)
            made.container_host = host
            yield made
        await containers.close()
        await images.close()
    finally:
        await control.close()
        await local.close()
        host.tear_down()
    assert host.monitors() == []


async def start_container(daemon: Daemon, *args: str, **changes: object) -> str:
    name = f"t-{secrets.token_hex(3)}"
    made = await daemon.agent.containers.create(daemon.container_host.config(*args, name=name, **changes))
    await daemon.agent.containers.start(made.id)
    return name


async def wait_exit(daemon: Daemon, name: str) -> None:
    async with asyncio.timeout(20):
        await daemon.agent.containers.wait(name)


async def test_containers_are_listed_inspected_stopped_and_removed(daemon: Daemon) -> None:
    name = await start_container(daemon, "/bin/sleep", "1000", labels={"tier": "front"}, stop_signal="SIGKILL")
    out, _ = await daemon.docker("ps", "--format", "{{.Names}} {{.Image}} {{.State}} {{.Status}}")
    assert out.startswith(f"{name} busybox running Up ")
    out, _ = await daemon.docker("ps", "-q", "--filter", "label=tier=back")
    assert out == ""
    out, _ = await daemon.docker("inspect", name)
    shown = json.loads(out)[0]
    assert shown["State"]["Running"] is True
    assert shown["Path"] == "/bin/sleep"
    assert shown["State"]["Pid"] > 1
    out, _ = await daemon.docker("top", name)
    assert "sleep 1000" in out
    await daemon.docker("pause", name)
    out, _ = await daemon.docker("ps", "--format", "{{.Status}}")
    assert "(Paused)" in out
    await daemon.docker("unpause", name)
    await daemon.docker("rename", name, "other")
    await daemon.docker("stop", "other")
    await daemon.docker("stop", "other")  # stopping a stopped container is no error
    out, _ = await daemon.docker("ps", "-a", "--format", "{{.Names}} {{.Status}}")
    assert out.startswith("other Exited (137)")
    out, _ = await daemon.docker("wait", "other")
    assert out.strip() == "137"
    await daemon.docker("start", "other")
    _, err = await daemon.docker("rm", "other", check=1)
    assert "other" in err or "running" in err
    await daemon.docker("rm", "-f", "other")
    _, err = await daemon.docker("inspect", "other", check=1)
    _, err = await daemon.docker("stop", "other", check=1)
    assert "o such container" in err


async def test_logs_with_streams_tail_timestamps_and_follow(daemon: Daemon) -> None:
    name = await start_container(daemon, "/bin/sh", "-c", "echo one; echo two >&2; echo three")
    await wait_exit(daemon, name)
    out, err = await daemon.docker("logs", name)
    assert (out, err) == ("one\nthree\n", "two\n")
    out, _ = await daemon.docker("logs", "--timestamps", name)
    assert out.splitlines()[0].endswith("Z one")
    many = await start_container(daemon, "/bin/sh", "-c", "for i in 1 2 3 4; do echo $i; done")
    await wait_exit(daemon, many)
    out, _ = await daemon.docker("logs", "--tail", "2", many)
    assert out == "3\n4\n"
    slow = await start_container(daemon, "/bin/sh", "-c", "echo first; sleep 1; echo last")
    out, _ = await daemon.docker("logs", "--follow", slow)
    assert out == "first\nlast\n"
    _, err = await daemon.docker("logs", "nothing", check=1)
    assert "nothing" in err


async def test_exec_passes_stdin_stdout_stderr_and_the_exit_code(daemon: Daemon) -> None:
    name = await start_container(daemon, "/bin/sleep", "1000")
    data = os.urandom(1 << 16).hex().encode()
    script = "cat; echo problem >&2; exit 7"
    out, err = await daemon.docker("exec", "-i", name, "/bin/sh", "-c", script, stdin=data, check=7)
    assert out.encode() == data
    assert err.strip() == "problem"
    out, _ = await daemon.docker(
        "exec", "-e", "A=b", "-w", "/tmp", "-u", "web", name, "/bin/sh", "-c", "echo $A; pwd; id -u"
    )
    assert out.split() == ["b", "/tmp", "1000"]
    await daemon.docker("exec", "-d", name, "/bin/touch", "/tmp/made")
    async with asyncio.timeout(10):
        while True:
            out, _ = await daemon.docker("exec", name, "/bin/ls", "/tmp")
            if "made" in out:
                break
    _, err = await daemon.docker("exec", name, "/bin/nothing", check=127)
    assert "/bin/nothing" in err
    _, err = await daemon.docker("exec", "nowhere", "true", check=1)
    assert "nowhere" in err


async def test_an_exec_with_a_terminal_has_a_pseudo_terminal(daemon: Daemon) -> None:
    """The client runs on a pseudo-terminal, types commands and leaves with ``exit``."""
    name = await start_container(daemon, "/bin/sleep", "1000")
    ours, theirs = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DOCKER_HOST": daemon.host, "TERM": "xterm"}
    process = await asyncio.create_subprocess_exec(
        "docker", "exec", "-it", name, "/bin/sh", stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    try:
        async with asyncio.timeout(CLI_SECONDS):
            os.write(ours, b"tty; echo sum=$((40+2)); exit 3\n")
            seen = b""
            while b"sum=42" not in seen:
                seen += await asyncio.to_thread(os.read, ours, 4096)
            assert b"/dev/pts/" in seen
            with contextlib.suppress(OSError):
                while await asyncio.to_thread(os.read, ours, 4096):
                    pass
            assert await process.wait() == 3
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)


async def test_attach_shows_output_and_ends_with_the_container(daemon: Daemon) -> None:
    name = await start_container(
        daemon, "/bin/sh", "-c", "read line; echo got $line; exit 5", open_stdin=True, attach_stdin=True
    )
    out, _ = await daemon.docker("attach", name, stdin=b"hello\n", check=5)
    assert out == "got hello\n"


async def test_stats_once_and_as_a_stream(daemon: Daemon) -> None:
    name = await start_container(daemon, "/bin/sleep", "1000")
    out, _ = await daemon.docker("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}")
    assert out.split() == [name, "1"]

    def use(client: docker.DockerClient) -> list[int]:
        stream = client.containers.get(name).stats(decode=True)
        return [next(stream)["pids_stats"]["current"] for _ in range(2)]

    assert await daemon.sdk(use) == [1, 1]


async def test_the_sdk_runs_execs_and_reads_logs(daemon: Daemon) -> None:
    name = await start_container(daemon, "/bin/sh", "-c", "echo words; sleep 1000")

    def use(client: docker.DockerClient) -> tuple[object, ...]:
        container = client.containers.get(name)
        code, (out, err) = container.exec_run(["/bin/sh", "-c", "echo a; echo b >&2; exit 4"], demux=True)
        plain = container.exec_run("/bin/echo hi").output
        return code, out, err, plain, container.logs(), container.status

    assert await daemon.sdk(use) == (4, b"a\n", b"b\n", b"hi\n", b"words\n", "running")


async def test_events_of_a_container(daemon: Daemon) -> None:
    async with (
        daemon.session() as session,
        session.get("/events", params={"filters": '{"type":["container"]}'}) as stream,
    ):
        name = await start_container(daemon, "/bin/true")
        seen = []
        async with asyncio.timeout(20):
            while "die" not in seen:
                event = json.loads(await stream.content.readline())
                assert event["Actor"]["Attributes"]["name"] == name
                seen.append(event["Action"])
    assert seen[:2] == ["create", "start"]
    assert event["Actor"]["Attributes"]["exitCode"] == "0"


async def test_a_disconnected_client_leaves_no_task_behind(daemon: Daemon) -> None:
    """Streams of logs, events and stats end when the client disconnects, not with the next line."""
    name = await start_container(daemon, "/bin/sleep", "1000")
    before = len(asyncio.all_tasks())
    async with daemon.session() as session:
        for path in (f"/containers/{name}/logs?stdout=1&follow=1", "/events", f"/containers/{name}/stats"):
            response = await session.get(path)
            assert response.status == 200
            response.close()
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110  tasks have no event for their end
            await asyncio.sleep(0.02)
