"""The docker client on secrets, networks, images, containers and events."""

import json
import os
import pty
import select
import struct
import subprocess
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pytest

from node.lab.image import root_file_system
from tests.support import labs
from tests.support.labs import IMAGE, OTHER_IMAGE, LabCluster

pytestmark = pytest.mark.root


def test_secrets_are_created_listed_inspected_and_removed(lab: LabCluster, tmp_path: Path) -> None:
    file = tmp_path / "word"
    file.write_text("from a file")
    identity = lab.docker("secret", "create", "--label", "team=a", "from-file", str(file)).out.strip()
    lab.docker("secret", "create", "from-stdin", "-", stdin=b"x")
    assert sorted(lab.docker("secret", "ls", "--format", "{{.Name}}").lines) == ["from-file", "from-stdin"]
    assert lab.docker("secret", "ls", "-q", "--filter", "label=team=a").lines == [identity]
    assert lab.docker("secret", "ls", "-q", "--filter", "name=from-file").lines == [identity]
    for reference in (identity, identity[:9], "from-file"):
        (secret,) = lab.json("secret", "inspect", reference)
        assert secret["ID"] == identity
        assert secret["Spec"] == {"Name": "from-file", "Labels": {"team": "a"}}
    taken = lab.docker("secret", "create", "from-stdin", "-", stdin=b"y", check=1)
    assert "already exists" in taken.err
    assert lab.docker("secret", "rm", "from-file", "from-stdin").lines == ["from-file", "from-stdin"]
    assert lab.docker("secret", "ls", "-q").lines == []


def test_networks_are_created_listed_inspected_and_removed(lab: LabCluster) -> None:
    options = ("--label", "team=a", "--attachable", "--internal", "--subnet", "10.99.0.0/24")
    identity = lab.docker("network", "create", "-d", "overlay", *options, "net").out.strip()
    names = set(lab.docker("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}").lines)
    # The host makes docker_gwbridge with its first overlay task: another test may have run one.
    assert names - {"docker_gwbridge bridge local"} == {
        "bridge bridge local",
        "host host local",
        "ingress overlay swarm",
        "none null local",
        "net overlay swarm",
    }
    assert lab.docker("network", "ls", "-q", "--no-trunc", "--filter", "label=team=a").lines == [identity]
    assert lab.docker("network", "ls", "--format", "{{.Name}}", "--filter", "driver=overlay").lines == [
        "ingress",
        "net",
    ]
    for reference in (identity, identity[:9], "net"):
        (network,) = lab.json("network", "inspect", reference, on=lab.managers[1])
        assert (network["Id"], network["Attachable"], network["Internal"]) == (identity, True, True)
        assert network["IPAM"]["Config"][0]["Subnet"] == "10.99.0.0/24"
    taken = lab.docker("network", "create", "-d", "overlay", "net", check=1)
    assert "network with name net already exists" in taken.err
    refused = lab.docker("network", "rm", "bridge", check=1)
    assert "pre-defined" in refused.err
    assert lab.docker("network", "rm", "net").out == "net\n"
    assert "not found" in lab.docker("network", "inspect", "net", check=1).err


def test_images_are_imported_saved_loaded_listed_and_removed(lab: LabCluster, tmp_path: Path) -> None:
    four, five = lab.workers
    root, archive = tmp_path / "root.tar", tmp_path / "saved.tar"
    root.write_bytes(root_file_system())
    change = ("--change", 'CMD ["sleep","1000000"]', "--change", "ENV COLOUR=red", "--change", "STOPSIGNAL SIGKILL")
    identity = lab.docker("import", *change, str(root), "made:1", on=four).out.strip()
    assert identity.startswith("sha256:")
    try:
        (image,) = lab.json("image", "inspect", "made:1", on=four)
        assert image["Id"] == identity
        assert image["RepoTags"] == ["made:1"]
        assert image["Config"]["Cmd"] == ["sleep", "1000000"]
        assert "COLOUR=red" in image["Config"]["Env"]
        lab.docker("tag", "made:1", "made:other", on=four)
        lab.docker("save", "-o", str(archive), "made:1", on=four)
        assert "Loaded image: made:1" in lab.docker("load", "-i", str(archive), on=five).out
        # The same content has the same ID on every host, so one service can run on both.
        assert lab.json("image", "inspect", "made:1", on=five)[0]["Id"] == identity
        assert "made 1" in lab.docker("image", "ls", "--format", "{{.Repository}} {{.Tag}}", on=five).lines
        assert lab.docker("image", "ls", "-q", "--no-trunc", "--filter", "reference=made", on=five).lines == [identity]
        lab.docker(
            "service",
            "create",
            "-d",
            "--no-resolve-image",
            "--name",
            "red",
            "--mode",
            "global",
            "--constraint",
            "node.role==worker",
            "made:1",
        )
        tasks = lab.running("red", 2)
        assert lab.execute(tasks[0], "sh", "-c", "echo $COLOUR").out == "red\n"
        refused = lab.docker("image", "rm", "made:1", on=five, check=1)
        assert "is using its" in refused.err, refused.err
        lab.docker("service", "rm", "red")
        labs.wait(lambda: not lab.get("/containers/json?all=1", on=five), "no container that uses the image")
    finally:
        lab.remove_all_objects()
        for host in (four, five):
            labs.wait(lambda h=host: not lab.get("/containers/json?all=1", on=h), "no container that uses the image")
            lab.docker("image", "rm", "made:1", on=host)
        lab.docker("image", "rm", "made:other", on=four)
    for host in (four, five):
        assert sorted(lab.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", on=host).lines) == [
            IMAGE,
            OTHER_IMAGE,
        ]
    assert "No such image" in lab.docker("image", "inspect", "made:1", on=four, check=1).err


def test_a_missing_image_is_named_in_the_task_error(lab: LabCluster) -> None:
    lab.service("nowhere", "--restart-condition", "none", image="no/such:image")
    task = labs.wait(lambda: lab.tasks("nowhere", desired="", state="rejected"), "the rejection")[0]
    assert "no/such:image" in task["Status"]["Err"]
    assert "no/such:image" in lab.docker("service", "ps", "--no-trunc", "--format", "{{.Error}}", "nowhere").out


def test_a_task_with_a_missing_image_is_retried_after_the_restart_delay(lab: LabCluster) -> None:
    """Not as fast as hosts can reject it, which would fill a history of five tasks within half a second."""
    lab.service("nowhere", "--restart-delay", "30s", image="no/such:image")
    labs.wait(
        lambda: len(lab.tasks("nowhere", desired="", state="rejected")) == 2,
        "the task and its waiting successor rejected",
    )
    version = lab.get("/services/nowhere")["Version"]
    began = time.monotonic()
    labs.wait(lambda: time.monotonic() - began > 1, "a second", 5)
    assert len(lab.tasks("nowhere", desired="")) == 2
    assert lab.get("/services/nowhere")["Version"] == version


def test_a_file_that_is_no_archive_is_refused(lab: LabCluster, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.tar"
    nonsense.write_bytes(os.urandom(100_000))
    before = lab.docker("image", "ls", "-q").lines
    for command in (("load", "-i", str(nonsense)), ("import", str(nonsense), "bad:1")):
        refused = lab.docker(*command, check=1)
        assert refused.err.strip(), command
    assert lab.docker("image", "ls", "-q").lines == before


# Containers


@pytest.fixture
def shell(lab: LabCluster) -> tuple[LabCluster, dict]:
    """A service of one task, and the task."""
    script = "trap 'stty size 2>/dev/null' WINCH; echo hello; echo trouble >&2; while :; do sleep 1; done"
    lab.service("shell", "--container-label", "kind=shell", "--env", "A=b", command=("sh", "-c", script))
    return lab, lab.running("shell", 1)[0]


def test_containers_are_listed_and_inspected_on_their_host(shell: tuple[LabCluster, dict]) -> None:
    lab, task = shell
    host, identity = lab.host_of(task), lab.container(task)
    name = f"shell.1.{task['ID']}"
    rows = lab.docker("ps", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.Image}} {{.State}}", on=host).lines
    assert rows == [f"{identity} {name} {IMAGE} running"]
    assert lab.docker("ps", "-q", "--filter", "label=kind=shell", "--no-trunc", on=host).lines == [identity]
    assert lab.docker("ps", "-q", "--filter", "name=nothing", on=host).lines == []
    for other in lab.hosts:
        if other != host:
            assert lab.docker("ps", "-aq", on=other).lines == []
    for reference in (identity, identity[:8], name):
        (shown,) = lab.json("container", "inspect", reference, on=host)
        assert shown["Id"] == identity
        assert shown["State"]["Status"] == "running"
        assert shown["State"]["Pid"] > 1
        assert "A=b" in shown["Config"]["Env"]
        assert shown["Config"]["Labels"]["com.docker.swarm.task.id"] == task["ID"]
        assert shown["Config"]["Labels"]["com.docker.swarm.service.name"] == "shell"


def test_container_logs_separate_stdout_and_stderr(shell: tuple[LabCluster, dict]) -> None:
    lab, task = shell
    host = lab.host_of(task)
    ran = labs.wait(
        lambda: (r := lab.docker("logs", lab.container(task), on=host)) and r.err and r.out and r, "both log lines"
    )
    assert (ran.out, ran.err) == ("hello\n", "trouble\n")
    stamped = lab.docker("logs", "-t", lab.container(task), on=host)
    assert stamped.out.split()[0].endswith("Z")
    assert len(lab.docker("logs", "--tail", "0", lab.container(task), on=host).out) == 0


def test_exec_passes_streams_environment_and_exit_code(shell: tuple[LabCluster, dict]) -> None:
    lab, task = shell
    host, container = lab.host_of(task), lab.container(task)
    ran = lab.docker(
        "exec",
        "-e",
        "X=y",
        "-w",
        "/tmp",
        container,
        "sh",
        "-c",
        "echo $A$X; pwd; echo no >&2; exit 9",
        on=host,
        check=9,
    )
    assert (ran.lines, ran.err) == (["by", "/tmp"], "no\n")
    data = os.urandom(200_000)
    back = subprocess.run(
        ["docker", "exec", "-i", container, "cat"],
        input=data,
        capture_output=True,
        env=lab.environment(host),
        timeout=30,
        check=True,
    )
    assert back.stdout == data
    assert lab.docker("exec", "-u", "65534", container, "id", "-u", on=host).out == "65534\n"
    missing = lab.docker("exec", container, "no-such-program", on=host, check=None)
    assert missing.code in (126, 127)
    assert "no-such-program" in missing.err + missing.out
    lab.docker("exec", "-d", container, "touch", "/tmp/detached", on=host)
    labs.wait(
        lambda: lab.docker("exec", container, "ls", "/tmp/detached", on=host, check=None).code == 0,
        "the detached command",
    )


def read_until(fd: int, wanted: bytes, seconds: float = 20.0) -> bytes:
    """Output of a terminal up to the wanted text."""
    said, deadline = b"", time.monotonic() + seconds
    while wanted not in said:
        left = deadline - time.monotonic()
        assert left > 0, f"{wanted!r} was not shown, but {said!r}"
        if select.select([fd], [], [], left)[0]:
            said += os.read(fd, 4096)
    return said


def test_exec_with_a_terminal_passes_its_size_and_resizes(shell: tuple[LabCluster, dict]) -> None:
    lab, task = shell
    host = lab.host_of(task)
    ours, theirs = pty.openpty()
    ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
    command = ["docker", "exec", "-it", lab.container(task), "sh"]
    environment = lab.environment(host) | {"TERM": "xterm"}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    ) as process:
        os.close(theirs)
        try:
            read_until(ours, b"#")
            os.write(ours, b"test -t 0 && test -t 1 && echo is-a-$((1))-terminal\n")
            read_until(ours, b"is-a-1-terminal")
            deadline = time.monotonic() + 20
            while True:  # the size arrives shortly after the start
                os.write(ours, b"stty size; echo at-$((2))\n")
                if b"33 101" in read_until(ours, b"at-2"):
                    break
                assert time.monotonic() < deadline, "the terminal's size never came"
            ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 120, 0, 0))
            process.send_signal(28)  # SIGWINCH, as the client's terminal sends it
            while True:
                os.write(ours, b"stty size; echo at-$((3))\n")
                if b"44 120" in read_until(ours, b"at-3"):
                    break
                assert time.monotonic() < deadline, "the terminal's new size never came"
            os.write(ours, b"exit 5\n")
            assert process.wait(20) == 5
        finally:
            process.kill()
            os.close(ours)


def test_events_of_containers_and_services(lab: LabCluster) -> None:
    began = str(int(time.time()) - 1)
    manager = lab.managers[1]
    command = ["docker", "events", "--since", began, "--format", "{{json .}}"]
    seen: dict[tuple[str, str], dict] = {}
    # Unbuffered: select does not see a line in a buffer of ours.
    with subprocess.Popen(command, env=lab.environment(manager), stdout=subprocess.PIPE, bufsize=0) as reader:
        assert reader.stdout is not None

        def read_event(seconds: float) -> None:
            if select.select([reader.stdout], [], [], seconds)[0]:
                event = json.loads(reader.stdout.readline())
                seen[event["Type"], event["Action"]] = event

        def connected() -> bool:
            """Whether the client gets events of the cluster, which are sent only while it is connected."""
            lab.docker("secret", "create", labs.unique("s"), "-", stdin=b"x")
            read_event(0.1)
            return ("secret", "create") in seen

        def all_events_seen() -> bool:
            read_event(1)
            return wanted <= set(seen)

        wanted = {("service", action) for action in ("create", "update", "remove")}
        wanted |= {("container", action) for action in ("create", "start", "die", "destroy")}
        try:
            labs.wait(connected, "the first event of the cluster")
            lab.service("web", "--constraint", f"node.hostname=={manager.name}")
            lab.running("web", 1)
            lab.docker("service", "scale", "-d", "web=2")
            lab.docker("service", "rm", "web")
            labs.wait(all_events_seen, f"events {sorted(wanted)}")
        finally:
            reader.kill()
    assert seen["service", "create"]["scope"] == "swarm"
    assert seen["service", "create"]["Actor"]["Attributes"]["name"] == "web"
    assert seen["container", "start"]["scope"] == "local"
    assert seen["container", "die"]["Actor"]["Attributes"]["exitCode"] == "137"
    later = lab.docker(
        "events",
        "--since",
        began,
        "--until",
        str(int(time.time()) + 1),
        "--filter",
        "type=container",
        "--filter",
        "event=die",
        on=manager,
    )
    assert "container die" in later.out
    assert "container start" not in later.out
