"""``covey`` runs, changes and removes single containers, images and volumes of a real daemon, with docker's output and exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, CommandResult, LabCluster, unique, wait

pytestmark = pytest.mark.root

COVEY = labs.PYTHON_BIN / "covey"
SECONDS = 20


@pytest.fixture(scope="module")
def alone(images: Path) -> Iterator[LabCluster]:
    """One host that is in no cluster."""
    with labs.running_lab("alone", 1, init_cluster=False, archive=images) as lab:
        yield lab


def covey(lab: LabCluster, *arguments: str, check: int | None = 0, **options: Any) -> CommandResult:
    return labs.run([COVEY, *arguments], check=check, env=lab.environment(), **options)


def background(lab: LabCluster, *options: str, command: tuple[str, ...] = labs.SLEEP) -> str:
    """Name of a new container that runs until it is killed."""
    name = unique("c")
    covey(lab, "run", "-d", "--init", "--name", name, *options, IMAGE, *command)
    return name


def test_run_has_the_output_and_the_exit_code_of_the_command(alone: LabCluster) -> None:
    ran = covey(alone, "run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7", check=7)
    assert (ran.out, ran.err) == ("out\n", "err\n")
    assert covey(alone, "run", "--rm", "-i", IMAGE, "cat", stdin=b"x" * 2_000_000).out == "x" * 2_000_000
    assert covey(alone, "ps", "-aq").out == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--rm", IMAGE, "no-such-command"), 127, "executable file not found"),
        (("--rm", IMAGE, "/etc"), 126, "permission denied"),
        (("--rm", "--pull", "never", "no-such-image", "true"), 125, "No such image"),
        (("--rm", "--no-such-flag", IMAGE), 125, "--no-such-flag"),
        (("--rm", "--network", "no-such-network", IMAGE, "true"), 125, "network no-such-network not found"),
    ],
)
def test_a_run_that_fails_has_dockers_exit_code(
    alone: LabCluster, arguments: tuple[str, ...], code: int, message: str
) -> None:
    ran = covey(alone, "run", *arguments, check=code)
    assert message in ran.err
    assert alone.docker("run", *arguments, check=code).code == code
    assert covey(alone, "ps", "-aq").out == ""


def test_create_start_attached_and_logs(alone: LabCluster, tmp_path: Path) -> None:
    cidfile, name = tmp_path / "id", unique("c")
    made = covey(
        alone, "create", "-i", "--cidfile", str(cidfile), "--name", name, IMAGE, "sh", "-c", "read a; echo $a; exit 3"
    )
    assert made.out.strip() == cidfile.read_text()
    again = covey(alone, "create", "--cidfile", str(cidfile), IMAGE, check=125)
    assert "container ID file found" in again.err
    assert covey(alone, "start", "-ai", name, stdin=b"word\n", check=3).out == "word\n"
    assert covey(alone, "logs", name).out == "word\n"
    assert covey(alone, "wait", name).out == "3\n"
    refused = covey(alone, "attach", name, check=1)
    assert "cannot attach to a stopped container" in refused.err
    assert covey(alone, "start", name, "no-such-container", check=1).err.endswith(
        "failed to start containers: no-such-container\n"
    )
    covey(alone, "rm", "-f", name)


def test_flags_take_effect_in_the_container(alone: LabCluster, tmp_path: Path) -> None:
    (tmp_path / "variables").write_text("FROM_FILE=1\n")
    flags = (
        *("--rm", "-e", "A=b", "--env-file", str(tmp_path / "variables"), "-w", "/tmp", "-h", "box", "-u", "0:1"),
        *("--tmpfs", "/scratch:size=1m", "-v", f"{tmp_path}:/mnt:ro", "--ulimit", "nofile=99:99", "--read-only"),
        *("--add-host", "db:192.0.2.1", "--network", "none", "--memory", "32m"),
    )
    script = (
        "echo $A $FROM_FILE $PWD $(hostname) $(id -u):$(id -g) $(ulimit -n); cat /mnt/variables; grep db /etc/hosts"
    )
    said = covey(alone, "run", *flags, IMAGE, "sh", "-c", script).lines
    assert said == ["b 1 /tmp box 0:1 99", "FROM_FILE=1", "192.0.2.1\tdb"]
    assert covey(alone, "run", "--rm", "--entrypoint", "echo", IMAGE, "hello").out == "hello\n"


def test_verbs_of_a_running_container(alone: LabCluster) -> None:
    name = background(alone, "--label", "tier=front")
    assert (
        covey(alone, "ps", "--filter", "label=tier=front", "--format", "{{.Names}} {{.State}}").out
        == f"{name} running\n"
    )
    assert covey(alone, "pause", name).out == f"{name}\n"
    assert "Paused" in covey(alone, "ps", "--format", "{{.Status}}").out
    covey(alone, "unpause", name)
    covey(alone, "update", "-m", "64m", "--memory-swap", "-1", "--restart", "on-failure:2", name)
    found = json.loads(covey(alone, "inspect", name).out)[0]["HostConfig"]
    assert (found["Memory"], found["RestartPolicy"]) == (64 << 20, {"Name": "on-failure", "MaximumRetryCount": 2})
    assert "sleep 1000000" in covey(alone, "top", name).out
    other = unique("c")
    covey(alone, "rename", name, other)
    covey(alone, "restart", "-t", "0", other)
    row = json.loads(covey(alone, "stats", "--no-stream", "--format", "json", other).out)
    assert row["Name"] == other
    assert row["MemUsage"].endswith("/ 64MiB")
    assert (
        covey(alone, "exec", "-e", "A=1", "-w", "/tmp", other, "sh", "-c", "echo $A $PWD; exit 4", check=4).out
        == "1 /tmp\n"
    )
    covey(alone, "kill", other)
    assert covey(alone, "wait", other).out == "137\n"
    assert covey(alone, "rm", other).out == f"{other}\n"


def test_several_containers_stop_at_the_same_time_and_errors_are_printed_in_order(alone: LabCluster) -> None:
    names = [background(alone, command=("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")) for _ in range(3)]
    started = time.monotonic()
    ran = covey(alone, "stop", "-t", "3", names[0], "no-such-container", *names[1:], check=1)
    assert time.monotonic() - started < 3 * 3, "they stopped one after the other"
    assert ran.lines == names
    assert "No such container: no-such-container" in ran.err
    assert covey(alone, "rm", *names).lines == names


def test_the_id_of_a_container_that_does_not_start_is_printed(alone: LabCluster) -> None:
    ran = covey(alone, "run", "-d", IMAGE, "no-such-command", check=127)
    assert covey(alone, "inspect", "-f", "{{.State.Status}}", ran.out.strip()).out == "created\n"
    covey(alone, "rm", ran.out.strip())


def test_files_go_in_and_out_of_a_container(alone: LabCluster, tmp_path: Path) -> None:
    name = background(alone)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_text("content")
    (tmp_path / "sub" / "link").symlink_to("file")
    covey(alone, "cp", str(tmp_path / "sub"), f"{name}:/tmp/new")
    covey(alone, "cp", str(tmp_path / "sub" / "file"), f"{name}:/tmp/")
    said = covey(alone, "exec", name, "sh", "-c", "cat /tmp/file /tmp/new/file; readlink /tmp/new/link").out
    assert said == "contentcontentfile\n"
    covey(alone, "cp", f"{name}:/tmp/new/.", str(tmp_path / "back"))
    assert (tmp_path / "back" / "file").read_text() == "content"
    assert (tmp_path / "back" / "link").readlink() == Path("file")
    covey(alone, "cp", "-L", f"{name}:/tmp/new/link", str(tmp_path / "followed"))
    assert (tmp_path / "followed").read_text() == "content"
    archive = labs.run([COVEY, "cp", f"{name}:/tmp/new", "-"], env=alone.environment(), text=False)
    stream = archive.out if isinstance(archive.out, bytes) else archive.out.encode()
    covey(alone, "cp", "-", f"{name}:/var", stdin=stream)
    assert covey(alone, "exec", name, "cat", "/var/new/file").out == "content"
    assert {"A /tmp/new", "A /var/new", "C /tmp"} <= set(covey(alone, "diff", name).lines)
    for arguments, message in (
        ((f"{name}:/nothing", str(tmp_path)), "Could not find the file /nothing"),
        ((str(tmp_path / "nothing"), f"{name}:/tmp"), "no such file or directory"),
        ((str(tmp_path / "sub"), f"{name}:/tmp/file"), "cannot copy directory"),
        (("no-such-container:/a", str(tmp_path)), "No such container"),
    ):
        assert message in covey(alone, "cp", *arguments, check=1).err
    covey(alone, "rm", "-f", name)


def test_a_container_becomes_an_image_and_an_archive(alone: LabCluster, tmp_path: Path) -> None:
    name, image = background(alone), f"{unique('made')}:1"
    covey(alone, "exec", name, "sh", "-c", "echo made >/made")
    identifier = covey(alone, "commit", "-m", "by hand", "-a", "me", "-c", "ENV B=2", name, image).out.strip()
    assert covey(alone, "run", "--rm", image, "sh", "-c", "cat /made; echo $B").out == "made\n2\n"
    assert "by hand" in covey(alone, "history", image).out
    covey(alone, "export", "-o", str(tmp_path / "files.tar"), name)
    assert "made" in labs.run(["tar", "tf", str(tmp_path / "files.tar")]).lines
    covey(alone, "save", "-o", str(tmp_path / "image.tar"), image)
    covey(alone, "rmi", image)
    assert covey(alone, "load", "-i", str(tmp_path / "image.tar")).out == f"Loaded image: {image}\n"
    assert json.loads(covey(alone, "image", "inspect", image).out)[0]["Id"] == identifier
    assert image in covey(alone, "images", "--tree").out
    covey(alone, "rm", "-f", name)
    covey(alone, "rmi", image)


def test_volumes_and_disk_usage(alone: LabCluster, tmp_path: Path) -> None:
    volume = covey(alone, "volume", "create", "--label", "a=b").out.strip()
    covey(alone, "run", "--rm", "-v", f"{volume}:/data", IMAGE, "sh", "-c", "echo kept >/data/file")
    backup = ("-v", f"{volume}:/data", "-v", f"{tmp_path}:/backup", IMAGE)
    covey(alone, "run", "--rm", *backup, "tar", "cf", "/backup/data.tar", "-C", "/data", ".")
    assert "./file" in labs.run(["tar", "tf", str(tmp_path / "data.tar")]).lines
    rows = [json.loads(line) for line in covey(alone, "system", "df", "--format", "json").lines]
    assert [row["Type"] for row in rows] == ["Images", "Containers", "Local Volumes", "Build Cache"]
    assert volume in covey(alone, "system", "df", "-v").out
    name = background(alone, "-v", f"{volume}:/data")
    assert "volume is in use" in covey(alone, "volume", "rm", volume, check=1).err
    covey(alone, "rm", "-fv", name)
    assert covey(alone, "volume", "prune", "-f", "--filter", "label=a=b", "-a").lines[1] == volume


def test_prune_removes_what_stopped(alone: LabCluster) -> None:
    name = unique("c")
    covey(alone, "run", "--name", name, IMAGE, "true")
    identifier = covey(alone, "ps", "-aq", "--no-trunc", "--filter", f"name={name}").out.strip()
    said = covey(alone, "system", "prune", "-f").lines
    assert said[:2] == ["Deleted Containers:", identifier]
    assert said[-1].startswith("Total reclaimed space:")
    assert "Are you sure" in covey(alone, "system", "prune", check=130, stdin=b"n\n").out


def test_events_are_filtered(alone: LabCluster) -> None:
    covey(alone, "run", "--rm", "--label", "job=events", IMAGE, "true")
    query = ("--since", "1m", "--until", "0s", "--filter", "label=job=events", "--filter", "type=container")
    actions = covey(alone, "events", *query, "--format", "{{.Action}}").lines
    assert actions[:1] == ["create"]
    assert {"start", "die", "destroy"} <= set(actions)


def test_a_missing_image_is_pulled_and_the_reason_of_a_failure_is_the_registrys(alone: LabCluster) -> None:
    ran = covey(alone, "run", "--rm", "registry.invalid/no-such-image:1", "true", check=125)
    assert "Unable to find image 'registry.invalid/no-such-image:1' locally" in ran.err
    assert "no such host" in ran.err
    assert "no such host" in covey(alone, "pull", "registry.invalid/x", check=1).err


@contextmanager
def session(lab: LabCluster, *arguments: str, columns: int = 97) -> Iterator[tuple[int, int]]:
    """A covey command with a terminal: its process and the terminal.

    A test session that was started in the background ignores SIGINT, and so would its children.
    """
    command = ["env", "--default-signal=INT", str(COVEY), *arguments]
    process, terminal = pty.fork()
    if process == 0:
        try:
            os.execvpe("env", command, lab.environment())
        finally:
            os._exit(99)  # the child must never return into the tests
    try:
        resize(terminal, 31, columns)
        yield process, terminal
    finally:
        os.close(terminal)


def resize(terminal: int, rows: int, columns: int) -> None:
    import fcntl
    import struct
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def read_until(terminal: int, pattern: str) -> str:
    seen, deadline = "", time.monotonic() + SECONDS
    while not re.search(pattern, seen):
        assert time.monotonic() < deadline, seen
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                data = os.read(terminal, 4096)
            except OSError:  # the command has ended
                data = b""
            if not data:
                raise AssertionError(seen)
            seen += data.decode()
    return seen


def exit_code(process: int) -> int:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        select.select([], [], [], 0.05)
    raise AssertionError("the command did not end")


def test_run_with_a_terminal_has_its_size_detaches_and_is_attached_again(alone: LabCluster) -> None:
    name = unique("c")
    with session(alone, "run", "-it", "--name", name, IMAGE, "sh") as (process, terminal):
        read_until(terminal, "# ")
        for rows, columns in ((31, 97), (42, 111)):
            resize(terminal, rows, columns)

            def has_size(rows: int = rows, columns: int = columns) -> bool:
                os.write(terminal, b"stty size; echo d''one\n")
                return f"{rows} {columns}" in read_until(terminal, "done")

            wait(has_size, f"a terminal of {rows} lines")
        os.write(terminal, b"\x10\x11")
        assert exit_code(process) == 0
    assert covey(alone, "inspect", "-f", "{{.State.Running}}", name).out == "true\n"
    with session(alone, "attach", "--detach-keys", "ctrl-a,x", name) as (process, terminal):
        os.write(terminal, b"echo at''tached\n")
        read_until(terminal, "attached")
        os.write(terminal, b"\x01x")
        read_until(terminal, "read escape sequence")
        assert exit_code(process) == 1
    with session(alone, "attach", name) as (process, terminal):
        os.write(terminal, b"exit 5\n")
        assert exit_code(process) == 5
    covey(alone, "rm", name)


def test_signals_are_forwarded_to_the_container(alone: LabCluster) -> None:
    name = unique("c")
    script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    command = [COVEY, "run", "--rm", "--name", name, IMAGE, "sh", "-c", script]
    with subprocess.Popen(command, env=alone.environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=SECONDS)
    assert (out, process.returncode) == ("got it\n", 9)


def test_stats_are_a_table_that_is_drawn_again(alone: LabCluster) -> None:
    name = background(alone)
    with session(alone, "stats", columns=80) as (process, terminal):
        seen = read_until(terminal, f"(?s){name}.*\x1b\\[H.*{name}")
        assert seen.count("CONTAINER ID") == 2
        os.kill(process, signal.SIGINT)
        assert exit_code(process) == 130
    covey(alone, "rm", "-f", name)
