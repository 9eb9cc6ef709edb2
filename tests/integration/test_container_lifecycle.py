"""Container lifecycle on a real runtime: start, stop, limits, users, mounts, health and terminals."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.container.model import (
    ContainerEvent,
    ContainerMount,
    FileMount,
    HealthCheck,
    HealthStatus,
    MountKind,
    RunStatus,
)
from agent.container.service import ContainerService
from agent.runtime.limits import ResourceLimits
from covey.errors import AlreadyExistsError, ConflictError, InvalidArgumentError, NotFoundError
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


@pytest.fixture
async def service(host: Host) -> AsyncIterator[ContainerService]:
    async with running(host) as made:
        yield made


async def output(service: ContainerService, container_id: str) -> str:
    return "".join([e.data.decode() async for e in service.logs(container_id)])


async def run(service: ContainerService, host: Host, script: str, **changes: object) -> tuple[int, str]:
    """Exit code and output of a shell script in a new container."""
    made = await service.create(host.config("/bin/sh", "-c", script, **changes))
    await service.start(made.id)
    async with asyncio.timeout(20):
        code = await service.wait(made.id)
    return code, await output(service, made.id)


async def test_the_exit_code_of_the_process_is_the_exit_code_of_the_container(
    service: ContainerService, host: Host
) -> None:
    assert await run(service, host, "echo out; echo err >&2; exit 3") == (3, "out\nerr\n")
    assert (await run(service, host, "sh -c 'kill -15 $$'; exit $?"))[0] == 143


async def test_an_exited_container_leaves_no_mount_cgroup_or_bundle(service: ContainerService, host: Host) -> None:
    made = await service.create(host.config("/bin/true"))
    await service.start(made.id)
    await service.wait(made.id)
    await until(lambda: not host.leftovers())
    state = service.get(made.id).state
    assert (state.status, state.exit_code, state.pid) == (RunStatus.EXITED, 0, 0)
    assert 0 < state.started_at_ns <= state.finished_at_ns


async def test_a_container_can_start_again_with_the_files_it_wrote(service: ContainerService, host: Host) -> None:
    made = await service.create(host.config("/bin/sh", "-c", "cat /note 2>/dev/null; echo more >>/note"))
    for _ in range(3):
        await service.start(made.id)
        await service.wait(made.id)
    assert await output(service, made.id) == "more\nmore\nmore\n"
    assert service.get(made.id).state.start_count == 3


async def test_stop_sends_the_stop_signal_and_kills_after_the_grace_period(
    service: ContainerService, host: Host
) -> None:
    handling_signals = await service.create(
        host.config("/bin/sh", "-c", "trap 'exit 5' USR1; echo up; while :; do usleep 10000; done", stop_signal="USR1")
    )
    ignoring_signals = await service.create(host.config("/bin/sleep", "1000", stop_grace_seconds=0.2))
    for made in (handling_signals, ignoring_signals):
        await service.start(made.id)
    async with asyncio.timeout(10), contextlib.aclosing(service.logs(handling_signals.id, follow=True)) as logs:
        async for _ in logs:
            break
    assert (await service.stop(handling_signals.id, 10)).state.exit_code == 5
    assert (await service.stop(ignoring_signals.id)).state.exit_code == 137


async def test_container_events_are_emitted_in_order(service: ContainerService, host: Host) -> None:
    with service.subscribe() as events:
        made = await service.create(host.config("/bin/sleep", "1000"))
        await service.start(made.id)
        await service.pause(made.id)
        await service.unpause(made.id)
        await service.stop(made.id, 0)
        await service.remove(made.id)
        seen: list[ContainerEvent] = []
        while not seen or seen[-1].action != "destroy":
            seen.append(await asyncio.wait_for(events.get(), 10))
    assert [e.action for e in seen] == ["create", "start", "pause", "unpause", "kill", "kill", "die", "stop", "destroy"]
    assert seen[6].attributes == {"execDuration": "0", "exitCode": "137"}
    with pytest.raises(NotFoundError):
        service.get(made.id)


async def test_a_container_over_its_memory_limit_is_killed_and_marked_oom_killed(
    service: ContainerService, host: Host
) -> None:
    limit = ResourceLimits(memory_bytes=16 << 20, memory_swap_bytes=16 << 20, pids_limit=20, nano_cpus=500_000_000)
    made = await service.create(
        host.config("/bin/busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", resources=limit)
    )
    await service.start(made.id)
    assert await asyncio.wait_for(service.wait(made.id), 20) == 137
    assert service.get(made.id).state.oom_killed


async def test_a_missing_command_is_named_in_the_error(service: ContainerService, host: Host) -> None:
    made = await service.create(host.config("/bin/nothing"))
    with pytest.raises(InvalidArgumentError, match="/bin/nothing"):
        await service.start(made.id)
    state = service.get(made.id).state
    assert (state.status, state.exit_code) == (RunStatus.CREATED, 127)
    assert host.leftovers() == []


async def test_users_groups_and_capabilities_match_docker(service: ContainerService, host: Host) -> None:
    caps = "grep CapBnd /proc/self/status"
    assert await run(service, host, caps) == (0, "CapBnd:\t00000000a80425fb\n")
    assert await run(service, host, caps, cap_drop=("ALL",), cap_add=("NET_ADMIN",)) == (
        0,
        "CapBnd:\t0000000000001000\n",
    )
    assert await run(service, host, "id; grep CapEff /proc/self/status", user="web") == (
        0,
        "uid=1000(web) gid=1001(web) groups=1001(web),2000(extra)\nCapEff:\t0000000000000000\n",
    )
    assert (await run(service, host, "id", user="77:88"))[1] == "uid=77 gid=88 groups=88\n"
    assert (
        await run(
            service, host, "grep Seccomp: /proc/self/status; grep NoNewPrivs /proc/self/status", no_new_privileges=True
        )
    )[1] == "Seccomp:\t2\nNoNewPrivs:\t1\n"
    made = await service.create(host.config("/bin/true", user="nobody-here"))
    with pytest.raises(InvalidArgumentError, match="nobody-here"):
        await service.start(made.id)


async def test_a_read_only_root_refuses_writes_and_a_tmpfs_accepts_them(service: ContainerService, host: Host) -> None:
    script = "touch /x 2>/dev/null || echo refused; touch /scratch/x && mount | grep -c 'size=1024k'"
    assert await run(service, host, script, read_only=True, tmpfs={"/scratch": "size=1m"}) == (0, "refused\n1\n")


async def test_secrets_are_read_only_files_with_their_owner_and_mode(
    service: ContainerService, host: Host, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    mounts = (FileMount(source_path=str(secret), target="token", uid=1000, gid=1001, mode=0o400),)
    script = "stat -c '%a %u %g' /run/secrets/token; cat /run/secrets/token; echo x 2>/dev/null >/run/secrets/token || echo refused"
    code, text = await run(service, host, script, secrets=mounts, user="web")
    assert (code, text.replace("/bin/sh: can't create /run/secrets/token: Permission denied\n", "")) == (
        0,
        "400 1000 1001\ns3cret\nrefused\n",
    )


async def test_bind_mounts_and_volumes_are_mounted(service: ContainerService, host: Host, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (host.images.folders[0] / "var/data").mkdir()
    (host.images.folders[0] / "var/data/seed").write_text("from the image\n")
    mounts = (
        ContainerMount(kind=MountKind.BIND, source=str(tmp_path / "shared"), target="/shared"),
        ContainerMount(kind=MountKind.VOLUME, source="data", target="/var/data"),
    )
    assert await run(
        service, host, "echo hello >/shared/x; cat /var/data/seed; echo kept >/var/data/y", mounts=mounts
    ) == (0, "from the image\n")
    assert (tmp_path / "shared/x").read_text() == "hello\n"
    assert (await run(service, host, "cat /var/data/y", mounts=mounts))[1] == "kept\n"
    with pytest.raises(ConflictError, match="in use"):
        await service.remove_volume("data")


async def test_etc_hosts_hostname_and_resolv_conf_match_the_configuration(
    service: ContainerService, host: Host
) -> None:
    code, text = await run(
        service,
        host,
        "hostname; cat /etc/hostname; grep db /etc/hosts; cat /etc/resolv.conf",
        hostname="web1",
        extra_hosts=("db:10.1.2.3",),
        dns=("127.0.0.11",),
        dns_options=("ndots:0",),
    )
    assert (code, text) == (0, "web1\nweb1\n10.1.2.3\tdb\nnameserver 127.0.0.11\noptions ndots:0\n")


async def test_an_init_program_is_pid_one_if_configured(service: ContainerService, host: Host) -> None:
    assert (await run(service, host, "head -c 17 /proc/1/cmdline", init=True))[1].startswith("/sbin/docker-init")


async def test_a_container_becomes_healthy_then_unhealthy(service: ContainerService, host: Host) -> None:
    check = HealthCheck(
        test=("CMD-SHELL", "echo probed; test -e /ok"), interval_seconds=0.05, timeout_seconds=5, retries=2
    )
    made = await service.create(
        host.config("/bin/sh", "-c", "touch /ok; while :; do usleep 50000; done", healthcheck=check)
    )
    with service.subscribe() as events:
        await service.start(made.id)
        assert service.get(made.id).state.health.status is HealthStatus.STARTING

        async def until_event(action: str) -> None:
            async with asyncio.timeout(20):
                while (await events.get()).action != action:
                    pass

        await until_event("health_status: healthy")
        assert service.get(made.id).state.health.log[-1].output == "probed\n"
        (host.state / "containers" / made.id / "merged/ok").unlink()
        await until_event("health_status: unhealthy")
    await service.remove(made.id, force=True)


async def test_operations_with_a_wrong_name_id_or_state_are_refused(service: ContainerService, host: Host) -> None:
    made = await service.create(host.config("/bin/sleep", "1000", name="one"))
    with pytest.raises(AlreadyExistsError, match="/one"):
        await service.create(host.config("/bin/true", name="one"))
    with pytest.raises(ConflictError, match="not running"):
        await service.kill("one")
    with pytest.raises(NotFoundError):
        await service.start("two")
    assert service.get(made.id[:10]).name == "one"
    await service.start("one")
    with pytest.raises(ConflictError, match="running"):
        await service.remove("one")
    await service.rename("one", "two")
    await service.kill("two", "TERM")
    await service.remove("two", force=True)
    assert service.list() == []


async def test_a_tty_container_has_a_terminal_that_can_be_resized(service: ContainerService, host: Host) -> None:
    made = await service.create(host.config("/bin/sh", tty=True, open_stdin=True))
    stream = await service.attach(made.id)
    await service.start(made.id)
    await service.resize(made.id, 41, 133)
    seen = b""
    async with asyncio.timeout(20):
        while b"41 133" not in seen:
            await stream.write(b"stty size\n")
            packet = await stream.read()
            assert packet is not None
            assert packet[0] == 1
            seen += packet[1]
        await stream.write(b"exit 9\n")
        while await stream.read() is not None:
            pass
        assert await stream.wait() == 9
    await stream.close()


async def test_stdin_and_its_end_of_file_reach_the_container(service: ContainerService, host: Host) -> None:
    made = await service.create(host.config("/bin/cat", open_stdin=True, stdin_once=True))
    stream = await service.attach(made.id)
    await service.start(made.id)
    async with asyncio.timeout(20):
        await stream.write(b"through\n")
        await stream.close_stdin()
        assert await stream.read() == (1, b"through\n")
        assert await stream.read() is None
        assert await stream.wait() == 0
    await stream.close()


async def test_an_image_with_layer_paths_longer_than_a_page_can_be_mounted(tmp_path: Path) -> None:
    host = Host(tmp_path / ("long" * 20), image_layers=60)
    (host.images.folders[59] / "top").write_text("last layer\n")
    try:
        async with running(host) as service:
            assert await run(service, host, "cat /top") == (0, "last layer\n")
    finally:
        host.tear_down()


async def test_kill_sends_the_signal_to_the_process(service: ContainerService, host: Host) -> None:
    made = await service.create(
        host.config("/bin/sh", "-c", "trap 'exit 42' TERM; echo up; while :; do usleep 10000; done")
    )
    await service.start(made.id)
    async with asyncio.timeout(10), contextlib.aclosing(service.logs(made.id, follow=True)) as logs:
        async for _ in logs:
            break
    await service.kill(made.id, str(int(signal.SIGTERM)))
    assert await asyncio.wait_for(service.wait(made.id), 10) == 42
