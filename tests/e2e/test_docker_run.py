"""Forms of docker run on a host without a cluster: limits, security, namespaces, identity, files, and exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, CommandResult, LabCluster, unique

pytestmark = pytest.mark.root
MEMORY, CPU, PIDS = "/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/pids"


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("run", 1, init_cluster=False, archive=images) as running:
        yield running


def run(lab: LabCluster, *arguments: str, check: int | None = 0, **options: Any) -> CommandResult:
    return lab.docker("run", "--rm", "--network", "none", *arguments, check=check, **options)


def shell(lab: LabCluster, options: tuple[str, ...], script: str, **more: Any) -> str:
    return run(lab, *options, IMAGE, "sh", "-c", script, **more).out


def on_version_1(lab: LabCluster) -> bool:
    return bool(lab.get("/info")["CgroupVersion"] == "1")


LIMITS = [
    (("-m", "64m"), f"cat {MEMORY}/memory.limit_in_bytes {MEMORY}/memory.memsw.limit_in_bytes", "67108864\n134217728\n"),
    (("-m", "64m", "--memory-swap", "100m"), f"cat {MEMORY}/memory.memsw.limit_in_bytes", "104857600\n"),
    (("-m", "64m", "--memory-reservation", "32m"), f"cat {MEMORY}/memory.soft_limit_in_bytes", "33554432\n"),
    (("--memory-swappiness", "0"), f"cat {MEMORY}/memory.swappiness", "0\n"),
    (("-m", "64m", "--oom-kill-disable"), f"grep oom_kill_disable {MEMORY}/memory.oom_control", "oom_kill_disable 1\n"),
    (("--cpus", "0.5"), f"cat {CPU}/cpu.cfs_quota_us {CPU}/cpu.cfs_period_us", "50000\n100000\n"),
    (("--cpu-quota", "10000", "--cpu-period", "50000"), f"cat {CPU}/cpu.cfs_quota_us {CPU}/cpu.cfs_period_us", "10000\n50000\n"),
    (("--cpu-shares", "77"), f"cat {CPU}/cpu.shares", "77\n"),
    (("--pids-limit", "50"), f"cat {PIDS}/pids.max", "50\n"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "script", "out"), LIMITS, ids=[" ".join(options) for options, _, _ in LIMITS])
def test_limits_reach_the_cgroup(lab: LabCluster, options: tuple[str, ...], script: str, out: str) -> None:
    assert on_version_1(lab), "this table names the files of cgroup v1; unit tests cover v2"
    assert shell(lab, options, script) == out


FORMS = [
    (("--cpuset-cpus", "0"), "grep Cpus_allowed_list /proc/self/status", r"Cpus_allowed_list:\t0\n"),
    (("--oom-score-adj", "77"), "cat /proc/self/oom_score_adj", "77\n"),
    (("--ulimit", "nofile=100:200"), "ulimit -n; ulimit -Hn", "100\n200\n"),
    (("--shm-size", "1m"), "df /dev/shm | tail -1", r"shm +1024 .*\n"),
    (("--tmpfs", "/x:size=2m,mode=700"), "df /x | tail -1; stat -c %a /x", r"tmpfs +2048 .*\n700\n"),
    (("--mount", "type=tmpfs,dst=/x,tmpfs-size=1m"), "df /x | tail -1", r"tmpfs +1024 .*\n"),
    (("--device", "/dev/null:/dev/own"), "echo lost > /dev/own; stat -c '%t %T' /dev/own", "1 3\n"),
    (("--cap-drop", "ALL", "--cap-add", "net_raw"), "grep CapEff /proc/self/status", "CapEff:\t0000000000002000\n"),
    (("--security-opt", "seccomp=unconfined"), "grep Seccomp: /proc/self/status", r"Seccomp:\t0\n"),
    (("--security-opt", "seccomp=builtin"), "grep Seccomp: /proc/self/status", r"Seccomp:\t2\n"),
    (("--security-opt", "no-new-privileges"), "grep NoNewPrivs /proc/self/status", r"NoNewPrivs:\t1\n"),
    (("--security-opt", "no-new-privileges=false"), "grep NoNewPrivs /proc/self/status", r"NoNewPrivs:\t0\n"),
    (("--security-opt", "apparmor=unconfined", "--security-opt", "label=disable"), "echo runs", "runs\n"),
    (("--security-opt", "systempaths=unconfined"), "grep -c ' /proc/' /proc/mounts; true", "0\n"),
    (("--privileged",), "grep Seccomp: /proc/self/status; ls /dev/full; touch /sys/fs/cgroup/x 2>&1 | grep -c Read-only; true", r"Seccomp:\t0\n/dev/full\n0\n"),
    (("--read-only", "--tmpfs", "/tmp"), "touch /tmp/x && ! touch /x 2>/dev/null && echo kept", "kept\n"),
    (("--sysctl", "net.ipv4.ip_forward=1"), "cat /proc/sys/net/ipv4/ip_forward", "1\n"),
    (("--ipc", "none"), "ls -d /dev/shm 2>&1; true", ".*No such file.*\n"),
    (("--ipc", "host"), "test -d /dev/shm && ls -d /dev/mqueue", "/dev/mqueue\n"),
    (("--cgroupns", "private"), "head -1 /proc/self/cgroup", r".*:/\n"),
    (("--userns", "host"), "echo runs", "runs\n"),
    (("--hostname", "own", "--domainname", "example.org"), "hostname; cat /proc/sys/kernel/domainname", "own\nexample.org\n"),
    (("--init",), "cat /proc/1/cmdline | tr '\\0' ' '", "/sbin/docker-init -- .*"),
    (("--user", "5:6", "--group-add", "77"), "id -u; id -g; id -G", "5\n6\n6 77\n"),
    (("-w", "/made/here"), "pwd", "/made/here\n"),
    (("-e", "A=1", "-e", "B=2"), "echo $A$B", "12\n"),
    (("--add-host", "one:1.2.3.4"), "grep one /etc/hosts", r"1\.2\.3\.4\tone\n"),
    (("--dns", "1.2.3.4", "--dns-search", "a.b", "--dns-option", "ndots:3"), "cat /etc/resolv.conf", "nameserver 1.2.3.4\nsearch a.b\noptions ndots:3\n"),
    (("--runtime", "io.containerd.runc.v2", "--isolation", "default", "--annotation", "a=b"), "echo runs", "runs\n"),
    (("-P",), "echo runs", "runs\n"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "script", "out"), FORMS, ids=[" ".join(options) for options, _, _ in FORMS])
def test_options_take_effect(lab: LabCluster, options: tuple[str, ...], script: str, out: str) -> None:
    assert re.fullmatch(out, shell(lab, options, script))


REFUSED = [
    (("-m", "1m"), "Minimum memory limit allowed is 6MB"),
    (("--cpus", "99999"), "Range of CPUs is from 0.01 to"),
    (("--cpuset-cpus", "4095"), "Requested CPUs are not available - requested 4095"),
    (("--cap-add", "NONSENSE"), 'invalid CapAdd: unknown capability: "CAP_NONSENSE"'),
    (("--gpus", "all"), 'could not select device driver "" with capabilities: [[gpu]]'),
    (("--security-opt", "nonsense=1"), 'invalid --security-opt 2: "nonsense=1"'),
    (("--security-opt", "label=type:svirt_t"), "SecurityOpt label=type:svirt_t: the kernel of this host does not use SELinux"),
    (("--security-opt", "label=wrong"), "bad label option 'wrong', valid options 'disable'"),
    (("--device", "/dev/none-such"), "/dev/none-such"),
    (("--device-cgroup-rule", "c 1:1 rwmr"), ""),
    (("--runtime", "other"), "unknown or invalid runtime name: other"),
    (("--storage-opt", "size=1G"), "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"),
    (("--isolation", "hyperv"), "linux only supports 'default'"),
    (("--user", "nobody-here"), "unable to find user nobody-here: no matching entries in passwd file"),
    (("--pid", "container:none-such"), "No such container: none-such"),
    (("--ipc", "container:none-such"), "No such container: none-such"),
    (("--stop-signal", "NONSENSE"), "Invalid signal: NONSENSE"),
    (("-v", "/srv:/x:wrong"), "invalid mode: wrong"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[" ".join(options) for options, _ in REFUSED])
def test_what_is_refused_exits_with_125_and_leaves_nothing(
    lab: LabCluster, options: tuple[str, ...], message: str
) -> None:
    assert message in run(lab, *options, IMAGE, "true", check=125).err
    assert lab.docker("ps", "-aq").out == ""


def test_exit_codes_are_those_of_docker(lab: LabCluster) -> None:
    assert run(lab, IMAGE, "sh", "-c", "exit 7", check=7).err == ""
    assert run(lab, "--init", IMAGE, "sh", "-c", "kill -9 $$", check=137).err == ""
    assert 'exec: "none-such": executable file not found in $PATH' in run(lab, IMAGE, "none-such", check=127).err
    assert "no such file or directory" in run(lab, IMAGE, "/none/such", check=127).err
    assert "permission denied" in run(lab, IMAGE, "/etc", check=126).err
    assert lab.docker("ps", "-aq").out == ""


def test_cgroups_are_writable_where_the_container_has_its_own(lab: LabCluster) -> None:
    options = ("--security-opt", "writable-cgroups=true", IMAGE)
    if on_version_1(lab):
        assert "writable-cgroups needs cgroup v2" in run(lab, *options, "true", check=125).err
    else:
        run(lab, *options, "mkdir", "/sys/fs/cgroup/own")


def test_the_id_of_a_container_is_printed_and_written_to_a_file(lab: LabCluster, tmp_path: Path) -> None:
    file = tmp_path / "id"
    shown = lab.docker("run", "-d", "--network", "none", "--cidfile", str(file), IMAGE, *labs.SLEEP).out.strip()
    assert file.read_text() == shown
    assert lab.get(f"/containers/{shown}/json")["State"]["Running"]
    lab.docker("rm", "-f", shown)


def test_the_entrypoint_replaces_that_of_the_image(lab: LabCluster) -> None:
    assert run(lab, "--entrypoint", "echo", IMAGE, "a", "b").out == "a b\n"
    assert run(lab, "--entrypoint", "", IMAGE, "echo", "c").out == "c\n"


def test_a_seccomp_profile_from_a_file_applies(lab: LabCluster, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    script = "mkdir /x 2>&1; true"
    assert "Operation not permitted" in shell(lab, ("--security-opt", f"seccomp={profile}"), script)
    profile.write_text('{"syscalls": []}')
    refused = run(lab, "--security-opt", f"seccomp={profile}", IMAGE, "true", check=125).err
    assert "Decoding seccomp profile failed" in refused


def test_a_device_rule_decides_what_a_container_may_open(lab: LabCluster) -> None:
    """10:237 is /dev/loop-control, which no default rule allows and which needs no capability to open."""
    script = "mknod /loop c 10 237 && (: < /loop) 2>&1"
    assert "Operation not permitted" in shell(lab, (), f"{script}; true")
    shell(lab, ("--device-cgroup-rule", "c 10:* rmw"), script)


def test_namespaces_of_another_container_are_joined_while_it_runs(lab: LabCluster) -> None:
    name, private = unique("donor"), unique("private")
    lab.docker("run", "-d", "--network", "none", "--name", name, "--ipc", "shareable", IMAGE,
               "sh", "-c", "echo mine > /dev/shm/f; exec sleep 1000000")  # fmt: skip
    lab.docker("run", "-d", "--network", "none", "--name", private, IMAGE, *labs.SLEEP)
    shared = ("--ipc", f"container:{name}", "--pid", f"container:{name}")
    labs.wait(lambda: shell(lab, shared, "cat /dev/shm/f; ps").startswith("mine\n"), "the file in shared memory")
    assert "sleep 1000000" in shell(lab, shared, "ps")
    refused = run(lab, "--ipc", f"container:{private}", IMAGE, "true", check=125).err
    assert "non-shareable IPC (hint: use IpcMode:shareable for the donor container)" in refused
    lab.docker("stop", "-t", "0", name)
    assert "is not running" in run(lab, *shared, IMAGE, "true", check=125).err
    lab.docker("rm", "-f", name, private)


def test_a_container_gets_a_cgroup_below_the_parent_that_it_names(lab: LabCluster) -> None:
    parent = f"{lab[1].name}-own"
    line = shell(lab, ("--cgroup-parent", f"/{parent}"), "head -1 /proc/self/cgroup")
    assert re.search(rf":/{parent}/[0-9a-f]{{64}}$", line)
    for folder in Path("/sys/fs/cgroup").glob(f"*/{parent}"):
        assert [path for path in folder.iterdir() if path.is_dir()] == []
        folder.rmdir()


def test_the_container_of_an_inspection_can_be_created_again(lab: LabCluster) -> None:
    first, second = unique("first"), unique("second")
    lab.docker("create", "--name", first, "-v", "/srv:/a:ro", "--mount", "type=tmpfs,dst=/b", "--tmpfs", "/c:size=1m",
               "-m", "64m", "--cpus", "0.5", "--ulimit", "nofile=10:20", "--device", "/dev/null:/dev/own",
               "--cap-drop", "CHOWN", "--security-opt", "no-new-privileges", "--restart", "on-failure:3", "--init",
               "--health-cmd", "true", "--expose", "80", "--stop-timeout", "3", "--label", "k=v", "--add-host", "a:1.2.3.4",
               "--log-opt", "max-size=1m", IMAGE, "true")  # fmt: skip
    shown = lab.get(f"/containers/{first}/json")
    status, answer = lab.request(
        "POST", f"/containers/create?name={second}", {**shown["Config"], "HostConfig": shown["HostConfig"]}
    )
    assert status == 201, answer
    again = lab.get(f"/containers/{second}/json")
    assert again["HostConfig"] == shown["HostConfig"]
    assert again["Config"] == shown["Config"]
    lab.docker("rm", first, second)


def test_a_terminal_has_the_size_that_it_was_created_with(lab: LabCluster) -> None:
    name = unique("sized")
    body = {"Image": IMAGE, "Cmd": ["stty", "size"], "Tty": True, "HostConfig": {"ConsoleSize": [33, 77]}}
    assert lab.request("POST", f"/containers/create?name={name}", body)[0] == 201
    assert lab.docker("start", "-a", name).out.strip() == "33 77"
    lab.docker("rm", name)


def test_a_name_in_use_names_its_owner(lab: LabCluster) -> None:
    name = unique("taken")
    owner = lab.docker("create", "--name", name, IMAGE, "true").out.strip()
    refused = run(lab, "--name", name, IMAGE, "true", check=125).err
    assert f'Conflict. The container name "/{name}" is already in use by container "{owner}"' in refused
    lab.docker("rm", name)


def test_an_image_of_another_platform_is_looked_for_elsewhere(lab: LabCluster) -> None:
    refused = run(lab, "--pull", "never", "--platform", "linux/s390x", IMAGE, "true", check=125).err
    assert "was found but does not match the specified platform: wanted linux/s390x" in refused
