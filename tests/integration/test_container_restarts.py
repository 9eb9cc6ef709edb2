"""Restart policies, removal and waiting on a real runtime: counts, delays, manual stops, and restarts of the daemon and the host."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.container.model import RestartPolicy, RunStatus
from agent.container.service import ContainerService
from covey.errors import ConflictError, CoveyError
from tests.support.container_host import Host, running, until

pytestmark = pytest.mark.root

ALWAYS, UNLESS = RestartPolicy(name="always"), RestartPolicy(name="unless-stopped")
FOREVER = ("/bin/sh", "-c", "trap 'exit 3' TERM; while :; do usleep 20000; done")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    try:
        yield made
    finally:
        made.tear_down()
        assert made.monitors() == []


async def started(service: ContainerService, host: Host, *args: str, **changes: object) -> str:
    made = await service.create(host.config(*args, **changes))
    await service.start(made.id)
    return made.id


async def test_on_failure_restarts_as_often_as_it_says_and_then_the_exit_is_final(host: Host) -> None:
    async with running(host) as service:
        policy = RestartPolicy(name="on-failure", maximum_retries=2)
        name = await started(service, host, "/bin/sh", "-c", "echo run; exit 7", restart=policy)
        async with asyncio.timeout(20):
            assert await service.wait(name) == 7
        state = service.get(name).state
        assert (state.status, state.restart_count, state.start_count) == (RunStatus.EXITED, 2, 3)
        runs = [entry.data async for entry in service.logs(name)]
        assert len(runs) == 3
        await service.start(name)
        assert service.get(name).state.restart_count == 0


async def test_a_container_that_waits_for_its_restart_can_be_stopped_and_stays_stopped(host: Host) -> None:
    async with running(host) as service:
        name = await started(service, host, "/bin/false", restart=ALWAYS)
        await until(lambda: service.get(name).state.restart_count >= 3)
        await until(lambda: service.get(name).state.status is RunStatus.RESTARTING)
        with pytest.raises(ConflictError, match="is restarting, wait until the container is running"):
            await service.pause(name)
        waiting = service.wait(name)
        assert not waiting.done()
        await service.stop(name)
        assert await waiting == 1
        assert (service.get(name).state.status, service.get(name).state.exit_code) == (RunStatus.EXITED, 1)
        assert await service.writable_bytes(name) == 0
        await asyncio.wait_for(service.remove(name), 5)


async def test_a_stopped_or_killed_container_is_not_restarted_but_one_that_dies_is(host: Host) -> None:
    async with running(host) as service:
        name = await started(service, host, *FOREVER, restart=ALWAYS)
        pid = service.get(name).state.pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: service.get(name).state.pid not in {0, pid})
        assert service.get(name).state.restart_count == 1
        await service.stop(name)
        state = service.get(name).state
        assert (state.status, state.exit_code, state.stopped_by_user) == (RunStatus.EXITED, 3, True)
        await service.start(name)
        ended = service.wait(name)
        await service.kill(name)
        assert await ended == 137
        assert service.get(name).state.status is RunStatus.EXITED


async def test_restart_keeps_the_container_and_begins_the_count_anew(host: Host) -> None:
    async with running(host) as service:
        name = await started(service, host, *FOREVER, auto_remove=True)
        pid = service.get(name).state.pid
        await service.restart(name)
        assert service.get(name).state.pid not in {0, pid}
        removed = service.wait(name, "removed")
        await service.stop(name, 0.2)
        assert await asyncio.wait_for(removed, 5) in {3, 137}
        assert service.list() == []


async def test_a_container_with_rm_that_cannot_start_is_removed(host: Host) -> None:
    async with running(host) as service:
        made = await service.create(host.config("/bin/missing", auto_remove=True))
        with pytest.raises(CoveyError, match="missing"):
            await service.start(made.id)
        assert service.list() == []


async def test_after_a_reboot_the_policy_decides_who_starts(host: Host) -> None:
    names: dict[str, str] = {}
    async with running(host) as service:
        for label, policy in (
            ("always", ALWAYS),
            ("stopped-always", ALWAYS),
            ("unless", UNLESS),
            ("stopped-unless", UNLESS),
        ):
            names[label] = await started(service, host, *FOREVER, restart=policy)
        names["no"] = await started(service, host, *FOREVER)
        for label in ("stopped-always", "stopped-unless"):
            await service.stop(names[label])
    host.tear_down()
    shutil.rmtree(host.run)
    async with running(host) as service:
        service.start_by_policy()

        def status(label: str) -> RunStatus:
            return service.get(names[label]).state.status

        for label in ("always", "stopped-always", "unless"):
            await until(lambda label=label: status(label) is RunStatus.RUNNING)
        assert (status("stopped-unless"), status("no")) == (RunStatus.EXITED, RunStatus.EXITED)
        assert {container.state.restart_count for container in service.list()} == {0}
        for container in service.list():
            await service.remove(container.id, force=True)


async def test_a_new_daemon_continues_a_restart_that_the_old_one_waited_for(host: Host) -> None:
    async with running(host) as service:
        name = await started(service, host, "/bin/false", restart=ALWAYS)
        await until(lambda: service.get(name).state.restart_count >= 3)
        await until(lambda: service.get(name).state.status is RunStatus.RESTARTING)
        count = service.get(name).state.start_count
    async with running(host) as service:
        service.start_by_policy()
        await until(lambda: service.get(name).state.start_count > count)
        await service.remove(name, force=True)


async def test_a_second_removal_is_refused_and_a_start_meanwhile_too(host: Host) -> None:
    async with running(host) as service:
        name = await started(
            service, host, "/bin/sh", "-c", "dd if=/dev/zero of=/file bs=1M count=50; while :; do usleep 9999; done"
        )
        with pytest.raises(
            ConflictError, match=r'cannot remove container "/c-\w+": container is running: stop the container'
        ):
            await service.remove(name)
        await service.pause(name)
        with pytest.raises(ConflictError, match="container is paused and must be unpaused first"):
            await service.remove(name)
        results = await asyncio.gather(
            service.remove(name, force=True), service.remove(name, force=True), return_exceptions=True
        )
        assert results[0] is None
        assert isinstance(results[1], ConflictError)
        assert "is already in progress" in str(results[1])
        assert service.list() == []


async def test_a_wait_that_begins_before_the_start_sees_the_exit(host: Host) -> None:
    async with running(host) as service:
        made = await service.create(host.config("/bin/sh", "-c", "exit 4", auto_remove=True))
        ended, removed = service.wait(made.id, "next-exit"), service.wait(made.id, "removed")
        await service.start(made.id)
        async with asyncio.timeout(10):
            assert (await ended, await removed) == (4, 4)


async def test_a_daemon_removes_what_ended_while_it_was_away(host: Host) -> None:
    async with running(host) as service:
        name = await started(
            service, host, "/bin/sh", "-c", "while [ ! -e /go ]; do usleep 9999; done", auto_remove=True
        )
    (host.state / "containers" / name / "merged" / "go").touch()
    await until((host.run / "exits" / name).exists)
    async with running(host) as service:
        assert service.list() == []
    assert not (host.state / "containers" / name).exists()
