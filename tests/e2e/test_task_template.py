"""Every field of a service's TaskTemplate that a container can have: set by the API, shown by inspection, and seen inside the container."""

import base64
import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root

SECOND = 1_000_000_000
DENY_UNAME = b'{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sethostname"],"action":"SCMP_ACT_ERRNO"}]}'
CHECK = {"Test": ["CMD", "true"], "Interval": 60 * SECOND, "StartPeriod": 60 * SECOND, "StartInterval": SECOND // 5}


class Case(NamedTuple):
    """Fields of the ContainerSpec or of the TaskTemplate, and what a script prints in the container."""

    name: str
    container: dict[str, Any]
    script: str
    wanted: str
    task: dict[str, Any] = {}


CASES = (
    Case("command", {"Command": ["sh", "-c", "sleep 1000000 & wait"], "Args": ["a0", "a1"]}, "tr '\\0' ' ' </proc/1/cmdline", "sh -c sleep 1000000 & wait a0 a1 "),
    Case("hostname", {"Hostname": "given"}, "hostname", "given"),
    Case("env", {"Env": ["A=one two", "B="]}, 'echo "$A|$B|"', "one two||"),
    Case("dir", {"Dir": "/etc"}, "readlink /proc/1/cwd", "/etc"),
    Case("user", {"User": "7:8", "Groups": ["9", "10"]}, "grep -E '^(Uid|Gid|Groups)' /proc/1/status | tr -s '\\t ' ' ' | tr '\\n' ';'", "Uid: 7 7 7 7;Gid: 8 8 8 8;Groups: 8 9 10 ;"),
    Case("tty", {"TTY": True}, "readlink /proc/1/fd/1", "/dev/pts/0"),
    Case("open-stdin", {"OpenStdin": True}, "case $(readlink /proc/1/fd/0) in pipe*) echo open;; *) echo closed;; esac", "open"),
    Case("read-only", {"ReadOnly": True}, "touch /x 2>&1 | grep -o 'Read-only.*'", "Read-only file system"),
    Case("init", {"Init": True}, "tr '\\0' ' ' </proc/1/cmdline | grep -c -e init -e tini", "1"),
    Case("hosts", {"Hosts": ["10.1.2.3 db db.example"]}, "grep ^10.1 /etc/hosts | tr -s '\\t ' ' '", "10.1.2.3 db\n10.1.2.3 db.example"),
    Case("dns", {"DNSConfig": {"Nameservers": ["192.168.77.254"], "Search": ["example"], "Options": ["ndots:3"]}}, "grep -E '^(search|options)' /etc/resolv.conf", "search example\noptions ndots:3"),
    Case("capabilities", {"CapabilityAdd": ["CAP_NET_ADMIN"], "CapabilityDrop": ["CAP_CHOWN"]}, "grep CapEff /proc/1/status | cut -f2", "00000000a80435fa"),
    Case("drop-all", {"CapabilityDrop": ["ALL"]}, "grep CapBnd /proc/1/status | cut -f2", "0000000000000000"),
    Case("sysctls", {"Sysctls": {"net.ipv4.ip_unprivileged_port_start": "99", "kernel.msgmax": "9000"}}, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax", "99\n9000"),
    Case("ulimits", {"Ulimits": [{"Name": "nofile", "Soft": 77, "Hard": 88}]}, "grep 'open files' /proc/1/limits | tr -s ' ' | cut -d' ' -f4,5", "77 88"),
    Case("oom", {"OomScoreAdj": 321}, "cat /proc/1/oom_score_adj", "321"),
    Case("privileges", {"Privileges": {"NoNewPrivileges": True, "Seccomp": {"Mode": "custom", "Profile": base64.b64encode(DENY_UNAME).decode()}}}, "grep -E '^(NoNewPrivs|Seccomp):' /proc/1/status | cut -f2 | tr '\\n' ' '", "1 2 "),
    Case("unconfined", {"Privileges": {"Seccomp": {"Mode": "unconfined"}, "AppArmor": {"Mode": "disabled"}}}, "grep ^Seccomp: /proc/1/status | cut -f2", "0"),
    Case("labels", {"Labels": {"of": "container"}, "Isolation": "default"}, "true", ""),
    Case("stop", {"StopSignal": "SIGINT", "StopGracePeriod": SECOND}, "true", ""),
    Case("health", {"Healthcheck": CHECK}, "true", ""),
    Case("pids", {}, "cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max", "55", {"Resources": {"Limits": {"Pids": 55}}}),
    Case("memory", {}, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max", "67108864", {"Resources": {"Limits": {"MemoryBytes": 64 << 20}, "Reservations": {"MemoryBytes": 32 << 20}}}),
    Case("cpus", {}, "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max", "50000", {"Resources": {"Limits": {"NanoCPUs": SECOND // 2}}}),
    Case("log", {}, "true", "", {"LogDriver": {"Name": "json-file", "Options": {"max-size": "1m", "max-file": "2", "tag": "{{.Name}}"}}}),
    Case("volume", {"Mounts": [{"Type": "volume", "Source": "opts", "Target": "/v", "VolumeOptions": {"NoCopy": True, "Labels": {"a": "b"}, "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=7"}}}}]}, "grep ' /v ' /proc/mounts >/o; grep -o size=1024k /o; grep -o uid=7 /o", "size=1024k\nuid=7"),
    Case("tmpfs", {"Mounts": [{"Type": "tmpfs", "Target": "/t", "ReadOnly": False, "TmpfsOptions": {"SizeBytes": 65536, "Mode": 0o1700, "Options": [["noexec"]]}}]}, "stat -c %a /t; grep ' /t ' /proc/mounts >/o; grep -o noexec /o; grep -o size=64k /o", "1700\nnoexec\nsize=64k"),
    Case("bind", {"Mounts": [{"Type": "bind", "Source": "/run/made-by-a-task", "Target": "/b", "ReadOnly": True, "BindOptions": {"Propagation": "rprivate", "CreateMountpoint": True}}]}, "touch /b/x 2>&1 | grep -o 'Read-only.*'", "Read-only file system"),
)  # fmt: skip
SLEEPS = {"Command": list(labs.SLEEP), "StopSignal": "SIGKILL"}


def spec(name: str, container: dict[str, Any], task: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"Name": name, "TaskTemplate": {"ContainerSpec": {"Image": IMAGE, **SLEEPS, **container}, **(task or {})}}


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    """One host with a service for every case."""
    with labs.running_lab("fields", 1, archive=images) as running:
        for case in CASES:
            status, answer = running.request("POST", "/services/create", spec(case.name, case.container, case.task))
            assert status == http.client.CREATED, (case.name, answer)
        yield running


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_field_is_shown_and_takes_effect(lab: LabCluster, case: Case) -> None:
    (task,) = lab.running(case.name, 1)
    template = lab.get(f"/services/{case.name}")["Spec"]["TaskTemplate"]
    for shown in (template, task["Spec"]):
        assert includes(shown["ContainerSpec"], case.container), shown
        assert includes(shown, case.task), shown
    assert lab.execute(task, "sh", "-c", case.script, check=None).out.strip("\r\n") == case.wanted


def includes(shown: Any, given: Any) -> bool:
    """Whether everything that was given is shown; more may be."""
    if isinstance(given, dict):
        return isinstance(shown, dict) and all(
            includes(shown.get(key), value) or not value for key, value in given.items()
        )
    if isinstance(given, list) and any(isinstance(item, dict) for item in given):
        return len(shown) == len(given) and all(map(includes, shown, given))
    return bool(shown == given)


def test_what_only_the_container_shows_is_there(lab: LabCluster) -> None:
    """Labels, signal and grace period, log driver, and a health check whose first probe is soon."""

    def container(name: str) -> dict[str, Any]:
        (task,) = lab.running(name, 1)
        found: dict[str, Any] = lab.get(f"/containers/{lab.container(task)}/json")
        return found

    assert container("labels")["Config"]["Labels"]["of"] == "container"
    stop = container("stop")["Config"]
    assert (stop["StopSignal"], stop["StopTimeout"]) == ("SIGINT", 1)
    log = container("log")["HostConfig"]["LogConfig"]
    assert log == {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2", "tag": "{{.Name}}"}}
    health = container("health")
    assert health["State"]["Health"]["Status"] == "healthy"
    assert health["Config"]["Healthcheck"] == CHECK
    assert container("memory")["HostConfig"]["MemoryReservation"] == 32 << 20
    (volume,) = lab.json("volume", "inspect", "opts")
    assert volume["Labels"]["a"] == "b"


@pytest.mark.parametrize(
    ("container", "task", "words"),
    [
        ({"Privileges": {"CredentialSpec": {"File": "x"}}}, {}, "credential specs are for Windows containers"),
        ({"Configs": [{"ConfigName": "c", "Runtime": {}}]}, {}, "credential specs are for Windows containers"),
        ({"Isolation": "hyperv"}, {}, "Isolation"),
        ({"Sysctls": {"kernel.panic": "1"}}, {}, "sysctl 'kernel.panic' is not in a separate kernel namespace"),
        ({"Ulimits": [{"Name": "wishes", "Soft": 1, "Hard": 1}]}, {}, "invalid ulimit type: wishes"),
        ({"Ulimits": [{"Name": "nofile", "Soft": 9, "Hard": 1}]}, {}, "ulimit soft limit must be less than or equal"),
        ({"CapabilityAdd": ["CAP_WISHES"]}, {}, "CAP_WISHES"),
        ({"StopSignal": "SIGWISH"}, {}, "SIGWISH"),
        ({"OomScoreAdj": 5000}, {}, "oom score adj"),
        ({"Hosts": ["justone"]}, {}, "justone"),
        ({"Mounts": [{"Type": "volume", "Target": "/v", "VolumeOptions": {"DriverConfig": {"Name": "nfs"}}}]}, {}, "nfs"),
        ({}, {"LogDriver": {"Name": "wishes"}}, "wishes"),
        ({}, {"LogDriver": {"Name": "json-file", "Options": {"wish": "1"}}}, "wish"),
    ],
)  # fmt: skip
def test_what_no_node_could_do_is_refused_by_name(
    lab: LabCluster, container: dict[str, Any], task: dict[str, Any], words: str
) -> None:
    status, answer = lab.request("POST", "/services/create", spec("wrong", container, task))
    assert status >= http.client.BAD_REQUEST, status
    assert words in answer["message"]
