"""Recovery after a daemon crash: running containers are adopted, exits recorded, leftovers removed."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.container.exit_status import HOST_DIED, MONITOR_DIED
from agent.container.model import ContainerState, ExecConfig, RunStatus
from agent.container.namespaces import plan_namespaces
from agent.container.recovery import START_INTERRUPTED
from agent.container.service import ContainerService
from agent.container.store import ContainerStore
from agent.runtime import mounts
from agent.runtime.conmon import LogFile
from tests.support.container_host import Host, running, until

pytestmark = pytest.mark.root


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    try:
        yield made
    finally:
        made.tear_down()
        assert made.monitors() == []


class Daemon:
    """Container daemon in its own process."""

    def __init__(self, host: Host) -> None:
        root = Path(__file__).parents[2]
        self.process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).parents[1] / "support" / "container_daemon.py"),
                str(host.state.parent),
                host.cgroup_parent,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{root}:{root}/proto"},
        )

    def run(self, script: str) -> str:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(script + "\n")
        self.process.stdin.flush()
        container_id = self.process.stdout.readline().strip()
        assert len(container_id) == 64
        return container_id

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def daemon(host: Host) -> Iterator[Daemon]:
    made = Daemon(host)
    try:
        yield made
    finally:
        made.kill()


async def test_a_running_container_is_adopted_unchanged_by_the_next_daemon(host: Host, daemon: Daemon) -> None:
    container_id = daemon.run("trap 'exit 6' TERM; i=0; while :; do echo $i; i=$((i+1)); usleep 20000; done")
    daemon.kill()
    async with running(host) as service:
        state = service.get(container_id).state
        assert state.status is RunStatus.RUNNING
        assert Path(f"/proc/{state.pid}/root/bin/busybox").exists()
        before = state.started_at_ns
        assert (await service.stop(container_id, 10)).state.exit_code == 6
        assert service.get(container_id).state.started_at_ns == before
        numbers = [int(e.data) async for e in service.logs(container_id)]
        assert numbers == list(range(len(numbers)))


async def test_a_container_keeps_its_pid_over_three_daemons(host: Host) -> None:
    async with running(host) as first:
        made = await first.create(host.config("/bin/sleep", "1000"))
        pid = (await first.start(made.id)).state.pid
    for _ in range(2):
        async with running(host) as later:
            assert later.get(made.id).state.pid == pid
            assert await later.exec_create(made.id, ExecConfig(args=("/bin/true",)))
    async with running(host) as last:
        await last.remove(made.id, force=True)
        assert host.leftovers() == []


async def test_an_exit_while_no_daemon_ran_is_recorded_with_exit_code_and_time(
    host: Host, daemon: Daemon, tmp_path: Path
) -> None:
    container_id = daemon.run("while [ ! -e /go ]; do usleep 10000; done; exit 17")
    daemon.kill()
    (tmp_path / "state/containers" / container_id / "merged/go").touch()
    exit_file = tmp_path / "run/exits" / container_id
    await until(exit_file.exists)
    written = exit_file.stat().st_mtime_ns
    async with running(host) as service:
        state = service.get(container_id).state
        assert (state.status, state.exit_code, state.finished_at_ns) == (RunStatus.EXITED, 17, written)
        assert host.leftovers() == []
        assert await service.wait(container_id) == 17


async def test_after_a_host_crash_containers_are_exited_and_mounts_removed(
    host: Host, daemon: Daemon, tmp_path: Path
) -> None:
    container_id = daemon.run("sleep 1000")
    daemon.kill()
    [monitor] = host.monitors()
    os.kill(monitor, 9)
    pid = int((tmp_path / "run/bundles" / container_id / "pid").read_text())
    os.kill(pid, 9)
    await until(lambda: not Path(f"/proc/{pid}").exists())
    shutil.rmtree(tmp_path / "run")
    assert mounts.mount_points_below(tmp_path)
    async with running(host) as service:
        state = service.get(container_id).state
        assert (state.status, state.exit_code, state.error) == (RunStatus.EXITED, 137, HOST_DIED)
        assert host.leftovers() == []
        assert (await service.start(container_id)).state.running
        await service.remove(container_id, force=True)


async def test_the_exit_of_a_container_killed_together_with_conmon_is_recorded(host: Host) -> None:
    async with running(host) as service:
        made = await service.create(host.config("/bin/sleep", "1000"))
        pid = (await service.start(made.id)).state.pid
        [monitor] = host.monitors()
        os.kill(monitor, 9)
        os.kill(pid, 9)
        assert await asyncio.wait_for(service.wait(made.id), 30) == 137
        assert service.get(made.id).state.error == MONITOR_DIED


async def start_without_runtime(service: ContainerService, container_id: str) -> ContainerState:
    """Start a container without the runtime's start: conmon runs and the process waits on the FIFO."""
    made = service.get(container_id)
    joined = plan_namespaces(made.config, service.get, service.cgroups.version)
    bundle = await service.bundles.build(made.config, service.images.layers(made.config.image_id), joined)
    pid = await service.conmon.create(
        made.id,
        made.name,
        bundle,
        runtime=service.runtimes.for_start(made.config),
        log=LogFile(service.paths.log(made.id), 1 << 20),
        terminal=False,
        stdin=False,
        leave_stdin_open=False,
    )
    return ContainerState(status=RunStatus.RUNNING, pid=pid, start_count=1, started_at_ns=1)


@pytest.mark.parametrize("recorded", [False, True])
async def test_a_start_interrupted_by_a_crash_is_undone(host: Host, recorded: bool) -> None:
    """The daemon crashed between conmon's create and the runtime's start, before or after it recorded the PID."""
    async with running(host) as service:
        made = await service.create(host.config("/bin/sleep", "1000"))
        state = await start_without_runtime(service, made.id)
        service.index._store.save_state(made.id, state if recorded else made.state, starting=True)
    async with running(host) as service:
        found = service.get(made.id).state
        assert (found.status, found.error, found.pid) == (RunStatus.CREATED, START_INTERRUPTED, 0)
        await until(lambda: not Path(f"/proc/{state.pid}").exists())
        assert host.leftovers() == []
        assert (await service.start(made.id)).state.running


async def test_a_start_completed_but_not_recorded_is_adopted(host: Host) -> None:
    """The daemon crashed right after the runtime's start: the user's process runs."""
    async with running(host) as service:
        made = await service.create(host.config("/bin/sleep", "1000"))
        state = await start_without_runtime(service, made.id)
        service.index._store.save_state(made.id, state, starting=True)
        await service.runtimes.of(made.id).start(made.id)
    async with running(host) as service:
        found = service.get(made.id).state
        assert (found.status, found.pid) == (RunStatus.RUNNING, state.pid)
        assert (await service.stop(made.id, 0)).state.exit_code == 137


async def test_a_container_without_a_database_row_is_removed(host: Host, daemon: Daemon, tmp_path: Path) -> None:
    container_id = daemon.run("sleep 1000")
    daemon.kill()
    store = ContainerStore(tmp_path / "state/containers.db")
    store.delete(container_id)
    store.close()
    async with running(host) as service:
        assert service.list() == []
        assert host.leftovers() == []
        assert list((tmp_path / "state/containers").iterdir()) == []
    await until(lambda: not host.monitors())
