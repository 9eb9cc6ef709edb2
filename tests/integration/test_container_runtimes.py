"""OCI runtimes by name: `docker run --runtime`, the daemon's options, a reload, and a daemon that comes back. Real runc and crun."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab.image import root_file_system
from tests.support.coveyd_process import CoveydProcess, running

pytestmark = pytest.mark.root
LOGGED = '#!/bin/sh\necho "$@" >>{log}\nexec runc "$@"\n'
NO_HYBRID = ["sh", "-c", 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', "sh"]
"""crun refuses hosts with both versions of cgroups; the daemon has a mount namespace of its own, where one goes."""
RUNTIMES = """
[runtimes.logged]
path = "{folder}/logged-runc"
runtimeArgs = ["--debug"]
[runtimes.crun]
path = "crun"
[runtimes.gone]
path = "/nonexistent/runtime"
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoveydProcess]:
    folder = tmp_path_factory.mktemp("runtimes")
    script = folder / "logged-runc"
    script.write_text(LOGGED.format(log=folder / "calls"))
    script.chmod(0o755)
    (folder / "coveyd.toml").write_text(RUNTIMES.format(folder=folder))
    with running(folder, "--config", f"{folder}/coveyd.toml", launcher=NO_HYBRID) as started:
        started.docker("import", "-", "box", stdin=root_file_system())
        yield started


def run(daemon: CoveydProcess, *args: str, check: int | None = 0) -> tuple[str, str]:
    return daemon.docker("run", "--network", "none", *args, check=check)


def test_info_lists_the_runtimes_and_the_default_one(daemon: CoveydProcess) -> None:
    shown = json.loads(daemon.docker("info", "--format", "{{json .}}")[0])
    assert shown["DefaultRuntime"] == "runc"
    assert sorted(shown["Runtimes"]) == ["crun", "gone", "io.containerd.runc.v2", "logged", "runc"]
    assert shown["Runtimes"]["logged"]["runtimeArgs"] == ["--debug"]


def test_a_container_runs_on_the_runtime_that_it_names_from_start_to_end(daemon: CoveydProcess) -> None:
    """`logged` is a program that notes its arguments and executes runc."""
    calls = daemon.folder / "calls"
    name = run(daemon, "-d", "--name", "one", "--runtime", "logged", "box", "sleep", "1000")[0].strip()
    assert daemon.docker("exec", "one", "echo", "hello")[0] == "hello\n"
    for verb in ("pause", "unpause"):
        daemon.docker(verb, "one")
    daemon.docker("update", "--memory", "64m", "--memory-swap", "64m", "one")
    assert daemon.docker("inspect", "-f", "{{.HostConfig.Runtime}}", "one")[0] == "logged\n"
    daemon.docker("rm", "-f", "one")
    lines = calls.read_text().splitlines()
    assert all("--debug" in line for line in lines)
    for verb in ("create", "start", "exec", "pause", "resume", "update", "delete"):
        assert any(f" {verb} " in line and name in line for line in lines), verb


def test_crun_runs_containers(daemon: CoveydProcess) -> None:
    """crun's state has a file `status`; runc's has none."""
    name = run(daemon, "-d", "--name", "two", "--runtime", "crun", "box", "sleep", "1000")[0].strip()
    assert (daemon.folder / "run/runtime" / name / "status").exists()
    assert daemon.docker("exec", "-w", "/tmp", "two", "pwd")[0] == "/tmp\n"
    assert daemon.docker("top", "two")[0].count("sleep 1000") == 1
    daemon.docker("kill", "two")
    assert daemon.docker("wait", "two")[0] == "137\n"
    daemon.docker("rm", "two")
    assert run(daemon, "--rm", "--runtime", "crun", "box", "sh", "-c", "exit 7", check=7) == ("", "")
    for command, code in (("missing", 127), ("/etc/passwd", 126)):
        run(daemon, "--rm", "--runtime", "crun", "box", command, check=code)


def test_the_alias_of_containerd_is_runc(daemon: CoveydProcess) -> None:
    assert run(daemon, "--rm", "--runtime", "io.containerd.runc.v2", "box", "echo", "hello")[0] == "hello\n"


def test_a_runtime_that_is_unknown_or_not_installed_is_refused_by_name(daemon: CoveydProcess) -> None:
    _, err = run(daemon, "--runtime", "kata", "box", "true", check=125)
    assert "unknown or invalid runtime name: kata" in err
    _, err = run(daemon, "--rm", "--runtime", "gone", "box", "true", check=125)
    assert "/nonexistent/runtime" in err
    assert daemon.docker("ps", "-aq")[0] == ""


def test_a_reload_changes_the_default_runtime_of_later_containers_only(daemon: CoveydProcess) -> None:
    file = daemon.folder / "coveyd.toml"
    daemon.docker("create", "--name", "before", "box", "true")
    file.write_text('default-runtime = "logged"\n' + RUNTIMES.format(folder=daemon.folder))
    daemon.reload()
    daemon.wait_for(lambda: daemon.docker("info", "-f", "{{.DefaultRuntime}}")[0] == "logged\n", "the reload")
    daemon.docker("create", "--name", "after", "box", "true")
    shown = daemon.docker("inspect", "-f", "{{.HostConfig.Runtime}}", "before", "after")[0]
    assert shown.split() == ["runc", "logged"]
    daemon.docker("rm", "before", "after")
    file.write_text('default-runtime = "wrong"')
    daemon.reload()
    daemon.wait_for(lambda: "specified default runtime 'wrong' does not exist" in daemon.log, "the refusal")
    assert daemon.docker("info", "-f", "{{.DefaultRuntime}}")[0] == "logged\n"


def test_a_daemon_that_no_longer_knows_a_runtime_controls_what_runs_on_it(tmp_path: Path) -> None:
    """The daemon is killed, comes back without the runtime, adopts the container, and executes and removes it as before."""
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(LOGGED.format(log=tmp_path / "calls"))
    wrapper.chmod(0o755)
    with running(tmp_path, "--add-runtime", f"other={wrapper}") as second:
        second.docker("import", "-", "box", stdin=root_file_system())
        name = run(second, "-d", "--name", "one", "--runtime", "other", "box", "sleep", "1000")[0].strip()
        second.process.send_signal(signal.SIGKILL)
        second.process.wait(10)
        before = len((tmp_path / "calls").read_text().splitlines())
        (tmp_path / "coveyd.log").unlink()
        with running(tmp_path) as third:
            assert third.docker("exec", name, "echo", "hello")[0] == "hello\n"
            third.docker("stop", "-t", "0", name)

            def later(verb: str) -> bool:
                return any(f" {verb} " in line for line in (tmp_path / "calls").read_text().splitlines()[before:])

            assert later("exec")
            third.wait_for(lambda: later("delete"), "the end of the run")
            _, err = third.docker("start", name, check=1)
            assert "unknown or invalid runtime name: other" in err
            third.docker("rm", name)
