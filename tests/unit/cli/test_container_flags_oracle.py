"""Flags of ``run``, ``create``, ``update`` and ``exec`` send the same requests as those of the docker client."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.recording_engine import RecordingEngine, Request, recording

# Fields in which null, false and zero differ.
POINTERS = {"Init", "StopTimeout", "MemorySwappiness"}
# Lists in which Docker keeps no order.
UNORDERED = {"Binds", "Env", "Ulimits"}
# Mappings whose values are empty mappings.
SETS = {"ExposedPorts", "Volumes"}
DIGEST = "sha256:" + "ab" * 32

CREATES = (
    """
busybox
-it busybox sh
-i -a stdout busybox sh
-a STDIN -a stderr busybox
--add-host a:1.2.3.4 --add-host b=::1 --add-host c:host-gateway --add-host d=[::1] busybox
--annotation k=v --annotation a --blkio-weight 100 --blkio-weight-device /dev/sda:200 busybox
--cap-add net_admin --cap-drop ALL --cgroup-parent p --cgroupns private -c 5 --cpu-period 100000 --cpu-quota 5000 busybox
--cap-add ALL --cap-add sys_time --cap-add bogus --cap-drop cap_sys_time busybox
--cpus 1.5 --cpuset-cpus 0 --cpuset-mems 0 --cpu-rt-period 1 --cpu-rt-runtime 2 busybox
--device /dev/null --device /dev/zero:/dev/z:rw --device /dev/null:r --device /dev/x:/y busybox
--device-cgroup-rule "c 1:3 rwm" --device-read-bps /dev/sda:1mb --device-write-bps /dev/sda:1k busybox
--device-read-iops /dev/sda:100 --device-write-iops /dev/sda:5 --device vendor.com/class=name busybox
--dns 1.1.1.1 --dns-option ndots:1 --dns-search a.test --dns-search . --domainname d --entrypoint sh busybox x
-e A=1 -e FROM_ENVIRONMENT -e NOT_SET --env-file variables busybox
--env "A=b c" --env A=2 -l "a=b c" -l a=2 busybox
--entrypoint "" busybox x
--expose 80 --expose 90-92/udp --expose 53/udp busybox
--gpus all busybox
--gpus 2 busybox
--gpus device=0,1 busybox
--gpus '"device=0,1","capabilities=compute,utility"' busybox
--gpus driver=nvidia,count=2,options=a=b busybox
--group-add 5 -h host --init --ipc host --isolation default busybox
--health-cmd "a b" --health-interval 1s --health-retries 3 --health-start-period 2s --health-timeout 5s busybox
--health-start-interval 1s --health-cmd "" busybox
--no-healthcheck --init=false --oom-kill-disable=false --read-only=true --tty=false busybox
--network mynet --ip 10.0.0.5 --ip6 fd00::1 --network-alias al --link-local-ip 169.254.1.1 --link a:b busybox
--network mynet --mac-address 02:42:ac:11:00:02 busybox
--network name=a,alias=x,ip=10.0.0.3,driver-opt=k=v --network b busybox
--network name=a,mac-address=02:42:ac:11:00:02,gw-priority=5,link-local-ip=169.254.1.1,ip6=fd00::2 busybox
--network a --network b --network-alias y --ip 1.1.1.1 busybox
--network host busybox
--network container:abc busybox
--link a:b --ip 10.0.0.5 busybox
-l a=b -l c --label-file labels --log-driver json-file --log-opt max-size=1m busybox
-m 64m --memory-reservation 32m --memory-swap -1 --memory-swappiness 0 busybox
--memory 0.5g --memory-swap 1g --shm-size 64m busybox
--mount type=bind,source=/tmp,target=/x,readonly --mount type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=1777 busybox
--mount type=volume,src=v,dst=/v,volume-nocopy,volume-subpath=a/b,volume-driver=local,volume-opt=o=x,volume-label=l=1 busybox
--mount type=image,source=busybox,target=/i,image-subpath=usr --mount target=/x busybox
--mount type=bind,source=.,target=/x,bind-propagation=rslave,bind-recursive=disabled,consistency=cached busybox
--mount type=bind,source=/a,target=/x,bind-recursive=readonly,readonly,bind-propagation=rprivate busybox
--mount type=bind,source=/a,target=/x,bind-recursive=writable,ro --mount type=bind,source=/b,target=/y,bind-nonrecursive busybox
--name n --oom-kill-disable --oom-score-adj 100 --pid host --pids-limit 100 --platform linux/amd64 --privileged busybox
--pids-limit 0 --stop-timeout -1 --platform Linux/x86_64 busybox
-p 80 -p 8080:80 -p 127.0.0.1:81:81/udp -p 8000-8002:9000-9002 -P busybox
-p published=8080,target=80,protocol=udp,mode=host -p [::1]:80:80 -p 1000-1001:80 -p 0.0.0.0::90 busybox
--read-only --restart on-failure:3 --rm=false --runtime runc busybox
--restart always busybox
--restart always:3 busybox
--rm --cidfile id busybox
--security-opt seccomp=profile.json --security-opt no-new-privileges --security-opt label:disable --security-opt apparmor=x busybox
--security-opt seccomp=unconfined --security-opt no-new-privileges:true --security-opt systempaths=unconfined busybox
--stop-signal TERM --stop-timeout 0 --storage-opt size=1g --sysctl net.a=1 --sysctl kernel.msgmax=5 busybox
--tmpfs /t --tmpfs /r:size=1m,rw --ulimit nofile=10:20 --ulimit nproc=5 --ulimit core=-1 busybox
-u 1:1 --userns host --uts host --volume-driver drv --volumes-from x:ro -w /w busybox
-v /a:/b:ro -v data:/d -v /anonymous -v ./rel:/rel -v ../up:/z -v .:/dot -v relx:/y:ro busybox
--use-api-socket busybox
--pull always --platform linux/arm64 -q registry.test/x/y
--pull always busybox
--pull never busybox@{digest}
-- busybox --not-a-flag
""".replace("{digest}", DIGEST)
    .strip()
    .splitlines()
)

REFUSED = """
--mount type=bind,source=/a busybox
--mount type=bind,source=/a,target=/x,volume-nocopy busybox
--mount type=bind,source=/a,target=/x,bogus=1 busybox
--mount type=volume,source=/a,target=/x,tmpfs-size=1 busybox
--mount type=bind,source=/a,target=/x,readonly=yes busybox
--mount type=tmpfs,target=/x,tmpfs-mode=9 busybox
--mount type=bind,source=/a,target=/x,bind-recursive=writable busybox
--mount type=bind,source=/a,target=/x,bind-recursive=readonly,readonly busybox
--rm --restart always busybox
--restart on-failure:x busybox
--sysctl bad busybox
--ulimit bad busybox
--ulimit bogus=1 busybox
--ulimit nofile=20:10 busybox
-e =x busybox
-l =x busybox
--pull bogus busybox
-m 1x busybox
-m -1 busybox
--memory-swap -2 busybox
--memory-swappiness 200 busybox
--shm-size x busybox
-v /a: busybox
-p 1.2.3:80:80 busybox
-p 80:80/bogus busybox
-p 99999:80 busybox
-p 5-3:80 busybox
-p 80-81:80-82 busybox
--expose bad busybox
--expose 80:80 busybox
--log-opt x --log-driver none busybox
--health-cmd x --no-healthcheck busybox
--health-interval 5 busybox
--health-retries -1 busybox
--blkio-weight-device x busybox
--blkio-weight-device /dev/sda:5 busybox
--device-read-bps x:1 busybox
--device-write-iops /dev/sda:x busybox
--device x:y:z:w busybox
--device /a:/b:q busybox
--device-cgroup-rule bad busybox
--gpus x=y busybox
--cpus x busybox
--dns bad busybox
--dns-search bad..x busybox
--pid bogus busybox
--uts bogus busybox
--userns bogus busybox
--cgroupns bogus busybox
--add-host bad busybox
--add-host a:1.2.3.4.5 busybox
--network-alias x busybox
--network bridge --network-alias y busybox
--network name=a,alias=x --network-alias y busybox
--network a --network a busybox
--network host --network a busybox
--network a=b busybox
--network "" busybox
--mac-address zz busybox
-a bogus busybox
--env-file nothing busybox
--label-file nothing busybox
--security-opt seccomp=nothing.json busybox
--security-opt bad busybox
--storage-opt bad busybox
--no-such-flag busybox
""".strip().splitlines()

OTHERS = """
update -m 64m --memory-swap -1 --cpus 1.5 -c 5 --cpuset-cpus 0 --pids-limit 5 --blkio-weight 100 --cpu-quota 5 --cpu-period 7 x y
update --cpuset-mems 0 --memory-reservation 1m --cpu-rt-period 1 --cpu-rt-runtime 2 --restart on-failure:3 x
update --pids-limit 0 x
exec -d -e A=1 -e FROM_ENVIRONMENT -e NOT_SET --env-file variables -u 1 -w / --privileged x a b
exec -d --detach-keys ctrl-a x a
exec -dit x a
run -d --rm --name n busybox sleep 5
run -d --sig-proxy=false busybox
pull registry.test:5000/a/b:1
pull -a registry.test:5000/a/b
pull --platform linux/arm64 user/x:1
push user/x
push -a registry.test/x
push --platform linux/arm64 registry.test:5000/x:2
login -u a -p b registry.test
pull registry.test/private:1
push registry.test/private:1
pull other.test/public:1
logout registry.test
pull registry.test/private:2
commit x
commit -a me -c "CMD x" -m msg -p=false x registry.test/b:c
rm -fvl x
stop -t 5 x
restart -t 5 -s HUP x
network connect --alias a --ip 1.1.1.1 --driver-opt k=v --gw-priority 5 --link b:c --link-local-ip 1.1.1.2 n c
network disconnect -f n c
import -m words -c "CMD x" http://host.test/files.tar made:1
container prune -f
volume create -o k=v --label a=b v
image inspect --platform linux/amd64 x
""".strip().splitlines()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordingEngine]:
    with recording(tmp_path_factory.mktemp("engine")) as made:
        (made.home / "variables").write_text("# comment\nA=1\nFROM_ENVIRONMENT\nNOT_SET\n")
        (made.home / "labels").write_text("x=1\ny\n")
        (made.home / "profile.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW",\n "x": 1}')
        yield made


def meaning(value: Any, key: str = "") -> Any:
    """A body without fields that are absent in all but form."""
    if key in SETS or not isinstance(value, dict | list):
        return value
    if isinstance(value, list):
        items = [meaning(item) for item in value]
        return sorted(items, key=str) if key in UNORDERED else items
    fields = {name: meaning(item, name) for name, item in value.items()}
    return {
        name: item
        for name, item in fields.items()
        if item not in (None, "", [], {}) and (name in POINTERS or item not in (False, 0))
    }


def requests(found: list[Request]) -> list[Any]:
    """The requests that change something. Queries without empty values; Docker writes true as 1."""
    return [
        (
            request.method,
            request.path,
            {key: value for key, value in request.query.items() if value},
            json.loads(base64.urlsafe_b64decode(request.headers.get("X-Registry-Auth", "bnVsbA=="))),
            meaning(request.body) if isinstance(request.body, dict) else None,
        )
        for request in found
        if request.method != "GET" and not request.path.endswith("/wait")
    ]


@pytest.mark.parametrize("flags", CREATES)
def test_create_sends_what_docker_sends(engine: RecordingEngine, flags: str) -> None:
    words = ["create", *shlex.split(flags)]
    theirs = requests(engine.docker(*words))
    (engine.home / "id").unlink(missing_ok=True)
    ours = requests(engine.covey(*words))
    (engine.home / "id").unlink(missing_ok=True)
    assert ours == theirs


@pytest.mark.parametrize("flags", REFUSED)
def test_flags_that_docker_refuses_are_refused_with_its_exit_code(engine: RecordingEngine, flags: str) -> None:
    words = ["create", *shlex.split(flags)]
    code, _, sent = engine.outcome("docker", words)
    assert code == 125
    assert not sent
    code, said, sent = engine.outcome(engine.covey_program, words)
    assert (code, sent) == (125, []), said
    assert said.strip()
    assert "Traceback" not in said


@pytest.mark.parametrize("line", OTHERS)
def test_other_commands_send_what_docker_sends(engine: RecordingEngine, line: str) -> None:
    words = shlex.split(line)
    assert requests(engine.covey(*words)) == requests(engine.docker(*words))


PROXIES = {
    "default": {"httpProxy": "http://p.test:3128", "noProxy": "*.test"},
    "unix:///other": {"httpProxy": "http://no"},
}


@pytest.mark.parametrize("words", ["create busybox", "create -e HTTP_PROXY=mine busybox", "exec -d box true"])
def test_the_configuration_file_has_proxies_and_detach_keys(tmp_path: Path, words: str) -> None:
    with recording(tmp_path) as engine:
        (engine.home / "config.json").write_text(json.dumps({"proxies": PROXIES, "detachKeys": "ctrl-a,b"}))
        theirs = requests(engine.docker(*words.split()))
        assert requests(engine.covey(*words.split())) == theirs
        assert "p.test" in str(theirs) or "ctrl-a,b" in str(theirs)
