"""The unmodified Docker SDK for Python: containers, execs, logs, files, images and volumes of one host without a cluster."""

import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import LogConfig, Mount, Ulimit

from tests.support import labs
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root

SLEEP = ["sleep", "1000000"]


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("sdk", 1, init_cluster=False, archive=images) as found:
        yield found


@pytest.fixture
def client(lab: LabCluster) -> Iterator[docker.DockerClient]:
    made = docker.DockerClient(base_url=f"unix://{lab[1].socket}", timeout=60)
    yield made
    for container in made.containers.list(all=True):
        container.remove(force=True, v=True)
    made.volumes.prune(filters={"all": "true"})
    made.close()


@pytest.fixture
def sleeper(client: docker.DockerClient) -> Container:
    return client.containers.run(IMAGE, SLEEP, detach=True, name="sleeper", stop_signal="SIGKILL")


def test_run_returns_the_output_and_raises_for_an_exit_code(client: docker.DockerClient) -> None:
    assert client.containers.run(IMAGE, ["echo", "hello"], remove=True) == b"hello\n"
    assert (
        client.containers.run(IMAGE, ["sh", "-c", "echo bad >&2"], stderr=True, stdout=False, remove=True) == b"bad\n"
    )
    with pytest.raises(ContainerError) as caught:
        client.containers.run(IMAGE, ["sh", "-c", "echo why >&2; exit 3"], remove=True)
    assert (caught.value.exit_status, caught.value.stderr) == (3, b"why\n")
    assert client.containers.list(all=True) == []


def test_run_refuses_a_missing_image_and_a_missing_program(client: docker.DockerClient) -> None:
    with pytest.raises(ImageNotFound):
        client.images.get("missing:1")
    with pytest.raises(APIError, match="executable file not found"):
        client.containers.run(IMAGE, ["no-such-program"], remove=True)


def test_every_option_of_run_takes_effect(client: docker.DockerClient) -> None:
    container = client.containers.run(
        IMAGE,
        SLEEP,
        detach=True,
        name="options",
        hostname="host-name",
        domainname="example.org",
        user="0",
        working_dir="/tmp",
        environment={"A": "b"},
        labels={"tier": "front"},
        mem_limit="64m",
        nano_cpus=500_000_000,
        pids_limit=50,
        shm_size="1m",
        ulimits=[Ulimit(name="nofile", soft=100, hard=200)],
        cap_add=["NET_ADMIN"],
        cap_drop=["CHOWN"],
        security_opt=["no-new-privileges"],
        read_only=True,
        tmpfs={"/scratch": "size=64k"},
        mounts=[Mount("/data", "volume-of-sdk", labels={"x": "y"})],
        extra_hosts={"other": "10.0.0.9"},
        dns=["10.0.0.1"],
        init=True,
        log_config=LogConfig(type="json-file"),
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
        stop_signal="SIGKILL",
        oom_score_adj=100,
        sysctls={"net.ipv4.ip_unprivileged_port_start": "0"},
    )
    container.reload()
    host = container.attrs["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"], host["Init"]) == (64 << 20, 500_000_000, 50, True)
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}

    def shell(command: str) -> str:
        code, out = container.exec_run(["sh", "-c", command])
        assert code == 0, out
        return out.decode().strip()

    assert shell("hostname") == "host-name"
    assert shell("pwd") == "/tmp"
    assert shell("echo $A") == "b"
    assert shell("ulimit -n") == "100"
    assert shell("ulimit -Hn") == "200"
    assert "other" in shell("grep 10.0.0.9 /etc/hosts")
    assert "nameserver 10.0.0.1" in shell("cat /etc/resolv.conf")
    assert shell("touch /data/a /scratch/b && echo written") == "written"
    assert container.exec_run(["touch", "/c"])[0] != 0
    assert shell("cat /proc/sys/net/ipv4/ip_unprivileged_port_start") == "0"
    assert shell("df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2") == "1024"


def test_the_life_of_a_container(client: docker.DockerClient, sleeper: Container) -> None:
    assert client.containers.get("sleeper").id == sleeper.id
    sleeper.pause()
    sleeper.reload()
    assert sleeper.status == "paused"
    sleeper.unpause()
    sleeper.rename("renamed")
    sleeper.restart(timeout=0)
    sleeper.reload()
    assert (sleeper.name, sleeper.status) == ("renamed", "running")
    sleeper.stop(timeout=0)
    assert sleeper.wait()["StatusCode"] == 137
    sleeper.reload()
    assert sleeper.status == "exited"
    sleeper.start()
    sleeper.kill()
    assert sleeper.wait(condition="not-running")["StatusCode"] == 137
    sleeper.remove()
    with pytest.raises(NotFound):
        sleeper.reload()


def test_wait_ends_when_the_container_is_removed(client: docker.DockerClient, sleeper: Container) -> None:
    ended: list[int] = []
    waiter = threading.Thread(target=lambda: ended.append(sleeper.wait(condition="removed")["StatusCode"]))
    waiter.start()
    sleeper.remove(force=True)
    waiter.join(30)
    assert ended == [137]


def test_a_running_container_is_removed_only_by_force(client: docker.DockerClient, sleeper: Container) -> None:
    with pytest.raises(APIError) as caught:
        sleeper.remove()
    assert caught.value.status_code == 409
    with pytest.raises(APIError) as caught:
        client.containers.create(IMAGE, SLEEP, name="sleeper")
    assert caught.value.status_code == 409
    sleeper.remove(force=True)


def test_containers_are_listed_by_filters(client: docker.DockerClient, sleeper: Container) -> None:
    other = client.containers.create(IMAGE, SLEEP, name="other", labels={"kind": "test"})

    def names(**filters: Any) -> set[str]:
        return {one.name for one in client.containers.list(all=True, filters=filters)}

    assert {one.name for one in client.containers.list()} == {"sleeper"}
    assert names() == {"sleeper", "other"}
    assert names(label="kind=test") == names(status="created") == {"other"}
    assert names(name="sleep") == names(since=sleeper.name) ^ {"other", "sleeper"} == {"sleeper"}
    assert names(ancestor=IMAGE, network="bridge") == {"sleeper", "other"}
    assert other.status == "created"


def test_logs_are_read_followed_and_cut(client: docker.DockerClient) -> None:
    talker = client.containers.run(
        IMAGE, ["sh", "-c", "for n in 1 2 3; do echo $n; done; echo e >&2; sleep 1"], detach=True
    )
    assert b"".join(talker.logs(stream=True, follow=True)) == b"1\n2\n3\ne\n"
    assert talker.logs(stdout=True, stderr=False) == b"1\n2\n3\n"
    assert talker.logs(stderr=False, tail=1) == b"3\n"
    stamped = talker.logs(stderr=False, timestamps=True).decode().splitlines()
    assert [line.split(" ", 1)[1] for line in stamped] == ["1", "2", "3"]


def test_exec_runs_with_output_user_folder_and_exit_code(client: docker.DockerClient, sleeper: Container) -> None:
    assert sleeper.exec_run(["sh", "-c", "echo out; echo err >&2"], demux=True) == (0, (b"out\n", b"err\n"))
    assert sleeper.exec_run(["pwd"], workdir="/tmp") == (0, b"/tmp\n")
    assert sleeper.exec_run("sh -c 'exit 9'").exit_code == 9
    assert b"".join(sleeper.exec_run(["sh", "-c", "echo a; echo b"], stream=True).output) == b"a\nb\n"
    assert sleeper.exec_run(["sh", "-c", "echo $X"], environment={"X": "y"}, tty=True).output == b"y\r\n"


def test_attach_sends_input_and_reads_output(client: docker.DockerClient) -> None:
    container = client.containers.create(IMAGE, ["cat"], stdin_open=True, name="cat")
    stream = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    raw = stream._sock  # the SDK gives the socket only so
    raw.settimeout(20)
    raw.sendall(b"hello\n")
    received = b""
    while b"hello\n" not in received:
        received += raw.recv(1024)
    raw.close()
    container.kill()


def test_files_are_copied_in_and_out(client: docker.DockerClient, sleeper: Container) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo("greeting")
        info.size = 6
        archive.addfile(info, io.BytesIO(b"hello\n"))
    assert sleeper.put_archive("/tmp", packed.getvalue())
    assert sleeper.exec_run(["cat", "/tmp/greeting"]).output == b"hello\n"
    chunks, stat = sleeper.get_archive("/tmp/greeting")
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        found = archive.extractfile("greeting")
        assert found is not None
        assert found.read() == b"hello\n"
    assert (stat["name"], stat["size"]) == ("greeting", 6)
    assert {"Path": "/tmp/greeting", "Kind": 1} in sleeper.diff()
    with pytest.raises(NotFound):
        sleeper.get_archive("/none")


def test_a_container_is_exported_and_committed(client: docker.DockerClient, sleeper: Container) -> None:
    sleeper.exec_run(["sh", "-c", "echo kept > /kept"])
    with tarfile.open(fileobj=io.BytesIO(b"".join(sleeper.export()))) as archive:
        assert "kept" in archive.getnames()
    image = sleeper.commit("committed", "1", message="m", changes="ENV FROM=commit")
    try:
        assert (
            client.containers.run("committed:1", ["sh", "-c", "cat /kept; echo $FROM"], remove=True)
            == b"kept\ncommit\n"
        )
        assert image.attrs["Parent"] == client.images.get(IMAGE).id
    finally:
        client.images.remove("committed:1")


def test_limits_of_a_running_container_are_changed(sleeper: Container) -> None:
    sleeper.update(mem_limit="128m", memswap_limit="256m", cpu_shares=512)
    sleeper.reload()
    assert (sleeper.attrs["HostConfig"]["Memory"], sleeper.attrs["HostConfig"]["CpuShares"]) == (128 << 20, 512)


def test_top_and_stats_show_the_process(sleeper: Container) -> None:
    labs.wait(lambda: "sleep 1000000" in str(sleeper.top()["Processes"]), "the process behind its runtime's start")
    stats = sleeper.stats(stream=False)
    assert stats["memory_stats"]["usage"] > 0
    assert stats["pids_stats"]["current"] == 1
    first = next(sleeper.stats(stream=True, decode=True))
    assert first["name"] == "/sleeper"


def test_events_tell_the_life_of_a_container(client: docker.DockerClient) -> None:
    stream = client.events(decode=True, filters={"type": "container", "label": "watched"})
    container = client.containers.run(IMAGE, SLEEP, detach=True, labels={"watched": "yes"}, stop_signal="SIGKILL")
    container.stop(timeout=0)
    container.remove()
    seen: list[str] = []
    for event in stream:
        seen.append(event["Action"])
        if event["Action"] == "destroy":
            break
    stream.close()
    assert seen[:2] == ["create", "start"]
    assert {"kill", "die", "stop", "destroy"} <= set(seen)


def test_stopped_containers_and_their_volumes_are_pruned(client: docker.DockerClient, sleeper: Container) -> None:
    ended = client.containers.run(IMAGE, ["true"], detach=True, volumes=["/anonymous"])
    ended.wait()
    assert not client.containers.prune(filters={"label": ["none"]})["ContainersDeleted"]
    assert client.containers.prune()["ContainersDeleted"] == [ended.id]
    assert [one.name for one in client.containers.list(all=True)] == ["sleeper"]


def test_volumes_are_used_by_containers(client: docker.DockerClient) -> None:
    volume = client.volumes.create("sdk-data", labels={"a": "b"})
    client.containers.run(
        IMAGE,
        ["sh", "-c", "echo kept > /data/file"],
        volumes={"sdk-data": {"bind": "/data", "mode": "rw"}},
        remove=True,
    )
    read = client.containers.run(
        IMAGE, ["cat", "/data/file"], volumes={"sdk-data": {"bind": "/data", "mode": "ro"}}, remove=True
    )
    assert read == b"kept\n"
    user = client.containers.create(IMAGE, SLEEP, volumes=["sdk-data:/data"])
    with pytest.raises(APIError) as caught:
        volume.remove()
    assert caught.value.status_code == 409
    user.remove()
    volume.remove()
    with pytest.raises(NotFound):
        client.volumes.get("sdk-data")


def test_images_are_tagged_saved_loaded_and_counted(client: docker.DockerClient, sleeper: Container) -> None:
    image = client.images.get(IMAGE)
    assert image.tag("tagged", "one")
    saved = b"".join(client.images.get("tagged:one").save(named="tagged:one"))
    client.images.remove("tagged:one")
    assert [loaded.id for loaded in client.images.load(saved)] == [image.id]
    usage = client.df()
    shown = next(one for one in usage["Images"] if one["Id"] == image.id)
    assert shown["Containers"] == 1
    assert shown["SharedSize"] >= 0
    client.images.remove("tagged:one")
    with pytest.raises(APIError) as caught:
        client.images.remove(IMAGE)
    assert caught.value.status_code == 409


def ends(probe: Callable[[], bool]) -> None:
    labs.wait(probe, "the container to end")


def test_a_container_that_fails_is_restarted(client: docker.DockerClient) -> None:
    container = client.containers.run(
        IMAGE, ["sh", "-c", "exit 1"], detach=True, restart_policy={"Name": "on-failure", "MaximumRetryCount": 2}
    )

    def gave_up() -> bool:
        container.reload()
        return container.status == "exited" and container.attrs["RestartCount"] == 2

    ends(gave_up)
