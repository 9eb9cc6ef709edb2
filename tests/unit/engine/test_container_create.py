"""Bodies of POST /containers/create: what is refused and in which words, and that an inspection can be given back."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest

from agent.container.model import (
    Container,
    ContainerConfig,
    ContainerFiles,
    ContainerMount,
    ContainerState,
    MountKind,
    RestartPolicy,
)
from agent.image.model import Image, ImageConfig, ImageHealthcheck
from covey.errors import CoveyError, InvalidArgumentError, UnsupportedError
from engine.translate import container as container_json
from engine.translate.container_create.request import Identity, container_config, read_request
from engine.translate.resource_limits import HostCapacity

HOST = HostCapacity(cpus=2, cpu_list="0-1", memory_nodes="0")
IDENTITY = Identity(id="c" * 64, name="web", created_at_ns=5, hostname="host")
GIB = 1 << 30


def image(**config: Any) -> Image:
    return Image(
        id="sha256:" + "a" * 64, repo_tags=(), repo_digests=(), created="", size=0, architecture="amd64", os="linux",
        config=ImageConfig(**config), diff_ids=(),
    )  # fmt: skip


def created(body: dict[str, Any], base: Image | None = None) -> ContainerConfig:
    return container_config(read_request({"Image": "img", "Cmd": ["x"], **body}, HOST), base or image(), IDENTITY)


def host(**values: Any) -> dict[str, Any]:
    return {"HostConfig": values}


def mounts(**values: Any) -> dict[str, Any]:
    return host(Mounts=[values])


def inspected(config: ContainerConfig) -> dict[str, Any]:
    shown = container_json.inspect(
        Container(config, ContainerState()), ContainerFiles(), [], "engine", "/volumes/{}".format
    )
    return json.loads(msgspec.json.encode(shown))


BAD = [
    ({"WorkingDir": "foo"}, "the working directory 'foo' is invalid, it needs to be an absolute path"),
    ({"Env": ["=foo"]}, "invalid environment variable: =foo"),
    ({"Env": [""]}, "invalid environment variable: "),
    ({"Cmd": [], "Entrypoint": [""]}, "no command specified"),
    ({"Healthcheck": {"Test": ["CMD", "x"], "Interval": 5}}, "Interval in Healthcheck cannot be less than 1ms"),
    ({"Healthcheck": {"Test": ["CMD", "x"], "Retries": -5}}, "Retries in Healthcheck cannot be negative"),
    ({"Volumes": {"/": {}}}, "invalid specification: destination can't be '/'"),
    (host(Memory=100), "Minimum memory limit allowed is 6MB"),
    (host(Memory=-1), "Minimum memory limit allowed is 6MB"),
    (
        host(Memory=GIB, MemorySwap=1000),
        "Minimum memoryswap limit should be larger than memory limit, see usage",
    ),
    (
        host(MemorySwap=GIB),
        "You should always set the Memory limit when using Memoryswap limit, see usage",
    ),
    (host(MemorySwappiness=101), "Invalid value: 101, valid memory swappiness range is 0-100"),
    (host(MemoryReservation=100), "Minimum memory reservation allowed is 6MB"),
    (
        host(Memory=GIB, MemoryReservation=2 * GIB),
        "Minimum memory limit can not be less than memory reservation limit, see usage",
    ),
    (host(OomScoreAdj=1001), "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
    (host(NanoCpus=10**11), "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
    (
        host(NanoCpus=10**9, CpuPeriod=1000),
        "Conflicting options: Nano CPUs and CPU Period cannot both be set",
    ),
    (
        host(NanoCpus=10**9, CpuQuota=1000),
        "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
    ),
    (host(CpuPeriod=10), "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
    (host(CpuQuota=10), "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
    (host(CpusetCpus="0-x"), "Invalid value 0-x for cpuset cpus: invalid format: 0-x"),
    (host(CpusetCpus="0-9"), "Requested CPUs are not available - requested 0-9, available: 0-1"),
    (host(CpusetMems="1"), "Requested memory nodes are not available - requested 1, available: 0"),
    (
        host(CpuRealtimePeriod=1000, CpuRealtimeRuntime=2000),
        "cpu real-time runtime cannot be higher than cpu real-time period",
    ),
    (host(BlkioWeight=1), "Range of blkio weight is from 10 to 1000"),
    (host(IOMaximumBandwidth=5), "invalid QoS settings: linux does not support configuration of maximum bandwidth"),
    (host(ShmSize=-1), "SHM size can not be less than 0"),
    (host(Ulimits=[{"Name": "zz", "Soft": 1, "Hard": 1}]), "invalid ulimit type: zz"),
    (
        host(Ulimits=[{"Name": "nofile", "Soft": 3, "Hard": 1}]),
        "ulimit soft limit must be less than or equal to hard limit: 3 > 1",
    ),
    (
        host(Devices=[{"PathOnHost": "/dev/a", "CgroupPermissions": "z"}]),
        "invalid device: /dev/a: it needs a path and a mode of r, w and m",
    ),
    (host(StorageOpt={"foo": "1"}), "Unknown option foo"),
    (host(IpcMode="foo"), "Invalid IPC mode: foo"),
    (host(PidMode="foo"), "invalid PID mode: foo"),
    (host(UTSMode="foo"), "invalid UTS mode: foo"),
    (host(UsernsMode="foo"), "invalid user namespace mode: foo"),
    (host(CgroupnsMode="foo"), "invalid cgroup namespace mode: foo"),
    ({"Hostname": "h", **host(UTSMode="host")}, "conflicting options: hostname and the UTS mode"),
    ({"Hostname": "h", **host(NetworkMode="container:x")}, "conflicting options: hostname and the network mode"),
    (
        {"NetworkingConfig": {"EndpointsConfig": {"web": {"IPAMConfig": {"LinkLocalIPs": ["::1"]}}}}},
        "invalid link-local IP address: ::1",
    ),
    (host(Links=["db:x:y"]), "bad format for links: db:x:y"),
    ({"NetworkingConfig": {"EndpointsConfig": {"web": {"Links": [":x"]}}}}, "bad format for links: :x"),
    (host(NetworkMode="container:x", Dns=["1.1.1.1"]), "conflicting options: dns and the network mode"),
    (
        host(NetworkMode="container:x", ExtraHosts=["a:1.1.1.1"]),
        "conflicting options: custom host-to-IP mapping and the network mode",
    ),
    (
        host(NetworkMode="container:x", PublishAllPorts=True),
        "conflicting options: port publishing and the container type network mode",
    ),
    (
        {"ExposedPorts": {"80/tcp": {}}, **host(NetworkMode="container:x")},
        "conflicting options: port exposing and the container type network mode",
    ),
    (host(NetworkMode="container:"), "Invalid network mode: invalid container format container:<name|id>"),
    (host(ExtraHosts=["foo"]), 'bad format for add-host: "foo"'),
    (host(ExtraHosts=["foo:bar"]), 'invalid IP address in add-host: "bar"'),
    (host(Isolation="hyperv"), "invalid isolation 'hyperv', linux only supports 'default'"),
    (host(Runtime="foo"), "unknown or invalid runtime name: foo"),
    (
        host(AutoRemove=True, RestartPolicy={"Name": "always"}),
        "can't create 'AutoRemove' container with restart policy",
    ),
    (
        host(RestartPolicy={"Name": "always", "MaximumRetryCount": 3}),
        "invalid restart policy: maximum retry count can only be used with 'on-failure'",
    ),
    (
        host(RestartPolicy={"Name": "on-failure", "MaximumRetryCount": -3}),
        "invalid restart policy: maximum retry count cannot be negative",
    ),
    (host(SecurityOpt=["foo"]), 'invalid --security-opt 1: "foo"'),
    (host(SecurityOpt=["foo=bar"]), 'invalid --security-opt 2: "foo=bar"'),
    (host(SecurityOpt=["no-new-privileges=x"]), 'invalid --security-opt 2: "no-new-privileges=x"'),
    (host(Annotations={"": "x"}), "invalid Annotations: the empty string is not permitted as an annotation key"),
    (host(Binds=["foo"]), ("invalid volume specification: 'foo': invalid mount config for type \"volume\": "
     "invalid mount path: 'foo' mount path must be absolute")),
    (host(Binds=["a:/b:zz"]), "invalid mode: zz"),
    (host(Binds=["a:/b:ro,rw"]), "invalid mode: ro,rw"),
    (host(Binds=["a:/"]), ("invalid volume specification: 'a:/': invalid mount config for type \"volume\": "
     "invalid specification: destination can't be '/'")),
    (host(Binds=[":/x"]), "invalid volume specification: ':/x'"),
    (host(Binds=["/tmp:rw"]), "invalid volume specification: '/tmp:rw'"),
    (host(Binds=["/a:/b:/c:/d"]), "invalid volume specification: '/a:/b:/c:/d'"),
    (host(Binds=["/tmp:/b:nocopy"]), ("invalid volume specification: '/tmp:/b:nocopy': "
     'invalid mount config for type "bind": field VolumeOptions must not be specified')),
    (host(Binds=["a:/b:shared"]), ("invalid volume specification: 'a:/b:shared': "
     'invalid mount config for type "volume": field BindOptions must not be specified')),
    (
        mounts(Type="bind", Source="tmp", Target="/b"),
        "invalid mount config for type \"bind\": invalid mount path: 'tmp' mount path must be absolute",
    ),
    (mounts(Type="bind", Target="/b"), 'invalid mount config for type "bind": field Source must not be empty'),
    (
        mounts(Type="bind", Source="/tmp", Target=""),
        'invalid mount config for type "bind": field Target must not be empty',
    ),
    (
        mounts(Type="bind", Source="/tmp", Target="/"),
        "invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
    ),
    (mounts(Type="foo", Target="/b"), 'invalid mount config for type "foo": mount type unknown'),
    (
        mounts(Type="volume", Target="/b", BindOptions={"Propagation": "rprivate"}),
        'invalid mount config for type "volume": field BindOptions must not be specified',
    ),
    (
        mounts(Type="bind", Source="/a", Target="/b", BindOptions={"Propagation": "foo"}),
        'invalid mount config for type "bind": invalid propagation mode: foo',
    ),
    (
        mounts(Type="tmpfs", Source="/a", Target="/b"),
        'invalid mount config for type "tmpfs": field Source must not be specified',
    ),
    (host(Binds=["vol:/b"], Tmpfs={"/b": ""}), "Duplicate mount point: /b"),
    (host(Tmpfs={"b": ""}), "invalid mount path: 'b' mount path must be absolute"),
    (host(Tmpfs={"/b": "foo"}), 'invalid tmpfs option ["foo"]'),
    (host(VolumesFrom=["x:zz"]), "invalid mode: zz"),
    (host(PortBindings={"80": [{"HostPort": "x"}]}), 'invalid port specification: "x"'),
    (host(PortBindings={"80/tcp": [{"HostPort": "70000"}]}), 'invalid port specification: "70000"'),
    (host(PortBindings={"80/tcp": [{"HostPort": "90-80"}]}), 'invalid port specification: "90-80"'),
    (host(PortBindings={"80-81/tcp": [{"HostPort": "90"}]}), 'invalid port specification: "80-81"'),
    (host(PortBindings={"0/tcp": [{}]}), 'invalid port specification: "0"'),
    (host(PortBindings={"": [{}]}), 'invalid port specification: ""'),
    (host(PortBindings={"80/xtp": [{}]}), 'invalid port specification: "80/xtp": use the protocol tcp, udp, sctp'),
    (host(PortBindings={"80/tcp": [{"HostIp": "1.2.3"}]}), "invalid IP address: 1.2.3"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "message"), BAD, ids=[f"{i:02}" for i in range(len(BAD))])
def test_bad_values_are_refused_in_dockers_words(body: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        created(body)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (host(KernelMemory=GIB), "HostConfig.KernelMemory"),
        (host(DeviceRequests=[{"Count": -1, "Capabilities": [["gpu"]]}]), r"capabilities: \[\[gpu\]\]"),
    ],
)
def test_what_cannot_work_is_refused_by_name(body: dict[str, Any], name: str) -> None:
    with pytest.raises(UnsupportedError, match=name):
        created(body)


@pytest.mark.parametrize(
    "body",
    [
        {"Env": ["A=\0"]},
        {"Cmd": ["\0"]},
        {"Volumes": {"/\0": {}}},
        host(Binds=["/a\0:/b"]),
        host(Devices=[{"PathOnHost": "/dev/\0"}]),
        host(Sysctls={"net.\0": "1"}),
    ],
)
def test_a_null_byte_is_refused_wherever_the_kernel_would_see_it(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="contains a null byte"):
        created(body)
    assert created({"Labels": {"a": "\0"}, **host(Annotations={"b": "\0"})}).labels == {"a": "\0"}


def test_an_empty_body_is_no_container() -> None:
    for body in (None, {}):
        with pytest.raises(InvalidArgumentError, match="Config cannot be empty in order to create a container"):
            read_request(body, HOST)


def test_the_image_gives_what_the_user_left_open() -> None:
    base = image(
        entrypoint=("entry",), cmd=("cmd",), env=("A=1", "B=2"), user="web", working_dir="/srv", labels={"a": "i", "b": "i"},
        stop_signal="SIGQUIT", exposed_ports=("80/tcp",), volumes=("/data",),
        healthcheck=ImageHealthcheck(test=("CMD", "true")),
    )  # fmt: skip
    plain = created({"Cmd": None}, base)
    assert (plain.args, plain.user, plain.working_dir, plain.stop_signal) == (
        ("entry", "cmd"),
        "web",
        "/srv",
        "SIGQUIT",
    )
    assert plain.mounts == (ContainerMount(kind=MountKind.VOLUME, target="/data", origin=plain.mounts[0].origin),)
    assert plain.healthcheck is not None
    own = created({"Env": ["B=x"], "Labels": {"b": "u"}, "ExposedPorts": {"53/udp": {}}, "StopTimeout": 0}, base)
    assert (own.args, own.env, own.labels) == (("entry", "x"), ("B=x", "A=1"), {"a": "i", "b": "u"})
    assert (own.exposed_ports, own.stop_grace_seconds) == (("53/udp", "80/tcp"), 0.0)


def test_a_mount_takes_the_place_of_a_volume_of_the_image() -> None:
    for other in (host(Binds=["/srv:/data"]), host(Tmpfs={"/data": ""})):
        assert [m for m in created(other, image(volumes=("/data",))).mounts if m.kind is MountKind.VOLUME] == []


def test_the_hostname_is_the_hosts_where_its_name_is_shared() -> None:
    assert created({}).hostname == "c" * 12
    assert created(host(NetworkMode="host")).hostname == "host"
    assert created(host(UTSMode="host")).hostname == "host"
    assert created({"Hostname": "own", **host(NetworkMode="host")}).hostname == "own"


def test_security_options_take_effect() -> None:
    made = created(host(SecurityOpt=["no-new-privileges", "seccomp=builtin", "apparmor:mine", "label=disable"]))
    assert (made.no_new_privileges, made.seccomp, made.apparmor_profile) == (True, "", "mine")
    assert created(host(SecurityOpt=["no-new-privileges=true", "no-new-privileges:false"])).no_new_privileges is False
    assert created(host(SecurityOpt=["writable-cgroups=true"])).writable_cgroups
    assert created(host(SecurityOpt=["seccomp=unconfined"])).seccomp == "unconfined"
    as_sent = ("net_admin", "CAP_CHOWN")  # programs compare what they sent with what they read
    assert created(host(CapAdd=list(as_sent), CapDrop=["all"])).cap_add == as_sent
    assert created(host(Privileged=True)).security_options == ("label=disable",)


EVERYTHING: dict[str, Any] = {
    "Hostname": "own", "Domainname": "example.org", "User": "web", "AttachStdin": True, "AttachStdout": True,
    "AttachStderr": True, "ExposedPorts": {"53/udp": {}}, "Tty": True, "OpenStdin": True, "StdinOnce": True,
    "Env": ["A=1", "B"], "Cmd": ["x", "y"], "Entrypoint": ["/bin/e"], "Volumes": {"/vol": {}}, "WorkingDir": "/w",
    "Healthcheck": {"Test": ["CMD", "t"], "Interval": 10**9, "Timeout": 2 * 10**9, "Retries": 4, "StartPeriod": 10**6},
    "Labels": {"k": "v"}, "StopSignal": "SIGINT", "StopTimeout": 10, "Shell": ["/bin/sh"], "OnBuild": ["RUN x"],
    "HostConfig": {
        "Binds": ["/srv:/a:ro,rslave", "named:/b:nocopy", "named2:/c", "/anonymous"],
        "Mounts": [
            {"Type": "bind", "Source": "/srv", "Target": "/d", "ReadOnly": True, "Consistency": "cached",
             "BindOptions": {"Propagation": "rshared", "NonRecursive": True, "CreateMountpoint": True}},
            {"Type": "volume", "Source": "v", "Target": "/e", "VolumeOptions": {
                "NoCopy": True, "Labels": {"l": "m"}, "Subpath": "s",
                "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs"}}}},
            {"Type": "volume", "Target": "/f"},
            {"Type": "tmpfs", "Target": "/g", "TmpfsOptions": {"SizeBytes": 1024, "Mode": 448, "Options": [["exec"]]}},
            {"Type": "image", "Source": "img2", "Target": "/h", "ImageOptions": {"Subpath": "p"}},
        ],
        "Tmpfs": {"/t": "size=1m,exec"}, "VolumesFrom": ["other:ro"], "VolumeDriver": "local",
        "ContainerIDFile": "/tmp/id", "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        "NetworkMode": "none", "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "ConsoleSize": [24, 80],
        "CapAdd": ["CAP_NET_ADMIN"], "CapDrop": ["CAP_CHOWN"], "CgroupnsMode": "private", "Dns": ["1.1.1.1"],
        "DnsOptions": ["ndots:2"], "DnsSearch": ["a.b"], "ExtraHosts": ["x:1.2.3.4", "gw:host-gateway"],
        "GroupAdd": ["audio"], "IpcMode": "shareable", "OomScoreAdj": 5, "PidMode": "host", "PublishAllPorts": True,
        "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "::1", "HostPort": "9000-9010"}],
                         "53/udp": None, "54/sctp": []},
        "ReadonlyRootfs": True, "SecurityOpt": ["no-new-privileges", "seccomp=unconfined", "apparmor=unconfined"],
        "UTSMode": "", "UsernsMode": "host", "ShmSize": 1 << 20, "Sysctls": {"net.ipv4.ip_forward": "1"},
        "Runtime": "io.containerd.runc.v2", "Isolation": "default", "CpuShares": 7, "Memory": GIB, "CgroupParent": "/p",
        "BlkioWeight": 100, "BlkioWeightDevice": [{"Path": "/dev/a", "Weight": 20}],
        "BlkioDeviceReadBps": [{"Path": "/dev/a", "Rate": 1}], "BlkioDeviceWriteBps": [{"Path": "/dev/a", "Rate": 2}],
        "BlkioDeviceReadIOps": [{"Path": "/dev/a", "Rate": 3}], "BlkioDeviceWriteIOps": [{"Path": "/dev/a", "Rate": 4}],
        "CpuPeriod": 5000, "CpuQuota": 2000, "CpuRealtimePeriod": 9, "CpuRealtimeRuntime": 8, "CpusetCpus": "0",
        "CpusetMems": "0", "Devices": [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}],
        "DeviceCgroupRules": ["c 1:* r"], "MemoryReservation": GIB, "MemorySwap": 2 * GIB, "MemorySwappiness": 0,
        "OomKillDisable": True, "PidsLimit": 9, "Ulimits": [{"Name": "nofile", "Hard": 2, "Soft": 1}],
        "Annotations": {"n": "o"}, "MaskedPaths": ["/proc/x"], "ReadonlyPaths": [], "Init": False, "AutoRemove": False,
    },
}  # fmt: skip


def test_everything_that_was_given_is_shown() -> None:
    shown = inspected(created(EVERYTHING))
    given_host = EVERYTHING["HostConfig"]
    assert {key: shown["HostConfig"][key] for key in given_host} == given_host
    given = {key: value for key, value in EVERYTHING.items() if key != "HostConfig"}
    assert {key: shown["Config"][key] for key in given} == given


@pytest.mark.parametrize("body", [{}, EVERYTHING, host(Privileged=True, Init=True, ReadonlyRootfs=True)])
def test_what_an_inspection_shows_can_be_given_back(body: dict[str, Any]) -> None:
    shown = inspected(created(body))
    again = inspected(created({**shown["Config"], "HostConfig": shown["HostConfig"]}))
    assert (again["Config"], again["HostConfig"]) == (shown["Config"], shown["HostConfig"])


def test_a_restart_policy_without_a_name_is_none() -> None:
    assert created(host(RestartPolicy={"Name": "", "MaximumRetryCount": 3})).restart == RestartPolicy()


def test_a_given_hardware_address_is_shown_and_can_be_given_back() -> None:
    endpoint = {"EndpointsConfig": {"bridge": {"MacAddress": "02:42:00:00:00:99"}}}
    shown = inspected(created({"NetworkingConfig": endpoint}))
    assert shown["Config"]["MacAddress"] == "02:42:00:00:00:99"
    again = created({**shown["Config"], "HostConfig": shown["HostConfig"]})
    assert again.requested_networks[0].mac == "02:42:00:00:00:99"
    assert "MacAddress" not in inspected(created({}))["Config"]


def test_ports_on_the_hosts_network_are_discarded_with_a_warning() -> None:
    ports = {"80/tcp": [{"HostPort": "8080"}]}
    request = read_request({"Image": "img", **host(NetworkMode="host", PortBindings=ports)}, HOST)
    assert request.warnings == ("Published ports are discarded when using host network mode",)
    assert read_request({"Image": "img", **host(PortBindings={"80/tcp": []})}, HOST).warnings == ()


def test_init_and_the_stop_timeout_are_shown_only_if_they_were_given() -> None:
    plain, own = inspected(created({})), inspected(created({"StopTimeout": 0, **host(Init=False)}))
    assert "Init" not in plain["HostConfig"]
    assert "StopTimeout" not in plain["Config"]
    assert (own["HostConfig"]["Init"], own["Config"]["StopTimeout"]) == (False, 0)


@pytest.mark.parametrize("name", sorted(EVERYTHING["HostConfig"]))
def test_a_value_of_another_type_is_refused_and_never_an_internal_error(name: str) -> None:
    for value in ({"a": 1}, [{"a": 1}], [[1]], "x", 1.5, True, -(2**70)):
        with contextlib.suppress(CoveyError):
            created(host(**{name: value}))


@pytest.mark.parametrize("name", sorted({*EVERYTHING, "NetworkingConfig"}))
def test_a_key_of_another_type_is_refused_and_never_an_internal_error(name: str) -> None:
    for value in ({"a": 1}, {"EndpointsConfig": {"bridge": 5}}, [{"a": 1}], [[1]], "x", 1.5, True, -(2**70)):
        with contextlib.suppress(CoveyError):
            created({name: value})
