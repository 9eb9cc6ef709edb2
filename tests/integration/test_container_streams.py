"""Execs, attach streams, logs, top and stats of containers on a real runtime."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.container.model import ExecConfig
from agent.container.service import ContainerService
from agent.logs import rotation
from agent.runtime.attach import AttachStream
from covey.errors import ConflictError, InvalidArgumentError, NotFoundError
from tests.support.container_host import Host, running

pytestmark = pytest.mark.root


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    try:
        yield made
    finally:
        made.tear_down()
        assert made.monitors() == []


@pytest.fixture
async def service(host: Host) -> AsyncIterator[ContainerService]:
    async with running(host) as made:
        yield made


@pytest.fixture
async def sleeper(service: ContainerService, host: Host) -> str:
    made = await service.create(host.config("/bin/sleep", "1000", env=("FROM=container",), user="web"))
    await service.start(made.id)
    return made.id


async def drain(stream: AttachStream) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    async with asyncio.timeout(20):
        while (packet := await stream.read()) is not None:
            found[packet[0]] = found.get(packet[0], b"") + packet[1]
    return found


async def test_an_exec_returns_stdout_stderr_and_exit_code(service: ContainerService, sleeper: str) -> None:
    script = "echo $FROM $MORE; id -u; pwd; cat; echo oops >&2; exit 7"
    config = ExecConfig(args=("/bin/sh", "-c", script), env=("MORE=exec",), working_dir="/tmp", attach_stdin=True)
    exec_id = await service.exec_create(sleeper, config)
    stream = await service.exec_start(exec_id)
    assert stream is not None
    await stream.write(b"x" * 100_000 + b"\n")
    await stream.close_stdin()
    seen = await drain(stream)
    assert seen == {1: b"container exec\n1000\n/tmp\n" + b"x" * 100_000 + b"\n", 2: b"oops\n"}
    assert await stream.wait() == 7
    state = service.exec_inspect(exec_id)
    assert (state.running, state.exit_code) == (False, 7)
    with pytest.raises(ConflictError, match="has already run"):
        await service.exec_start(exec_id)
    assert list(service.paths.execs.iterdir()) == []


async def test_the_terminal_of_an_exec_has_the_requested_size_and_can_be_resized(
    service: ContainerService, sleeper: str
) -> None:
    config = ExecConfig(args=("/bin/sh",), tty=True, attach_stdin=True, user="0")
    exec_id = await service.exec_create(sleeper, config)
    stream = await service.exec_start(exec_id, size=(33, 77))
    assert stream is not None

    async def until_size(size: bytes) -> None:
        seen = b""
        while size not in seen:
            await stream.write(b"stty size\n")
            packet = await stream.read()
            assert packet is not None
            seen += packet[1]

    async with asyncio.timeout(20):
        await until_size(b"33 77")
        await service.exec_resize(exec_id, 44, 88)
        await until_size(b"44 88")
        await stream.write(b"exit 4\n")
        await drain(stream)
        assert await stream.wait() == 4


async def test_a_detached_exec_runs_in_the_background(service: ContainerService, sleeper: str) -> None:
    exec_id = await service.exec_create(sleeper, ExecConfig(args=("/bin/sh", "-c", "echo done >/tmp/x; exit 2")))
    with service.subscribe() as events:
        assert await service.exec_start(exec_id, detach=True) is None
        async with asyncio.timeout(20):
            while (event := await events.get()).action != "exec_die":
                pass
    assert event.attributes == {"execID": exec_id, "exitCode": "2"}
    assert service.exec_inspect(exec_id).exit_code == 2


async def test_an_exec_of_a_missing_command_names_it_in_the_error(service: ContainerService, sleeper: str) -> None:
    exec_id = await service.exec_create(sleeper, ExecConfig(args=("/bin/nothing",)))
    with pytest.raises(InvalidArgumentError, match="/bin/nothing"):
        await service.exec_start(exec_id)
    assert service.exec_inspect(exec_id).exit_code == 127
    await service.kill(sleeper)
    await service.wait(sleeper)
    with pytest.raises(ConflictError, match="not running"):
        await service.exec_create(sleeper, ExecConfig(args=("/bin/true",)))
    with pytest.raises(NotFoundError):
        service.exec_inspect("nope")


async def test_top_and_stats_show_processes_and_resource_usage(service: ContainerService, sleeper: str) -> None:
    async with asyncio.timeout(20):  # right after the start the process is still the runtime's
        while [row[-1] for row in (await service.top(sleeper)).processes] != ["/bin/sleep 1000"]:  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0.01)
    stats = await service.stats(sleeper)
    assert stats.pids_current == 1
    assert stats.memory_usage_bytes > 0
    assert stats.system_cpu_ns > stats.cpu_total_ns > 0


async def test_logs_with_follow_tail_since_and_until(service: ContainerService, host: Host) -> None:
    script = "for i in 1 2 3; do echo $i; usleep 30000; done; echo err >&2; echo -n last"
    made = await service.create(host.config("/bin/sh", "-c", script))
    await service.start(made.id)
    async with asyncio.timeout(20):
        followed = [(e.stream, e.data) async for e in service.logs(made.id, follow=True)]
    assert sorted(followed) == [("stderr", b"err\n"), *(("stdout", d) for d in (b"1\n", b"2\n", b"3\n", b"last"))]
    assert [e.data async for e in service.logs(made.id, tail=2, stderr=False)] == [b"3\n", b"last"]
    assert [e.data async for e in service.logs(made.id, stdout=False)] == [b"err\n"]
    times = [e.time_ns async for e in service.logs(made.id)]
    assert [e.time_ns async for e in service.logs(made.id, since_ns=times[1])] == times[1:]
    assert [e.time_ns async for e in service.logs(made.id, until_ns=times[1])] == times[:2]


async def test_a_log_stays_within_its_size_limit_and_a_follower_misses_no_line(
    service: ContainerService, host: Host
) -> None:
    limit = 1 << 20
    script = "i=0; while [ $i -lt 300 ]; do head -c 8000 /dev/zero | tr '\\0' x; echo $i; i=$((i+1)); usleep 3000; done"
    (host.images.folders[0] / "bin/tr").symlink_to("busybox")
    made = await service.create(host.config("/bin/sh", "-c", script, log_max_bytes=limit))
    await service.start(made.id)
    log = rotation.RunningLog(service.paths.log(made.id), service.paths.bundle(made.id), limit // 4, 4)
    rotated = 0
    numbers = []
    async with asyncio.timeout(60), contextlib.aclosing(service.logs(made.id, follow=True)) as logs:
        async for entry in logs:
            numbers.append(int(entry.data.strip(b"x\n")))
            rotated += rotation.rotate(log)
    assert numbers == list(range(300))
    assert rotated >= 2
    folder = log.path.parent
    assert sum(p.stat().st_size for p in folder.glob("container.log*")) <= limit * 1.1


async def test_two_clients_can_attach_to_one_container(service: ContainerService, host: Host) -> None:
    made = await service.create(host.config("/bin/cat", open_stdin=True))
    await service.start(made.id)
    one, two = await service.attach(made.id), await service.attach(made.id)
    await one.write(b"hello\n")
    async with asyncio.timeout(20):
        assert await one.read() == await two.read() == (1, b"hello\n")
        await one.close()
        await two.write(b"again\n")
        assert await two.read() == (1, b"again\n")
        await service.stop(made.id, 0)
        assert await two.read() is None
        assert await two.wait() == 137
