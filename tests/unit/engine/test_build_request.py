"""The parameters of a build, and the arguments that buildah gets for them."""

import base64
import json
from pathlib import Path

import pytest

from agent.build.command import BuildPaths, BuildPlace, build_arguments, check_request
from covey.errors import CoveyError, InvalidArgumentError, UnsupportedError
from engine.translate.build import read_credentials, read_request

PATHS = BuildPaths(*(Path(f"/b/{name}") for name in ("context", "file", "ignore", "heredocs", "runtime")))


def arguments(**query: str) -> list[str]:
    request = read_request(query, {"t": (), "extrahosts": ("one:1.2.3.4", "two:::1")})
    return build_arguments(request, {"A": "1"}, PATHS, BuildPlace("ns:/n", "/covey/x"))


def test_every_parameter_reaches_buildah() -> None:
    line = arguments(
        labels='{"l":"v"}', ulimits='[{"Name":"nofile","Soft":1,"Hard":2}]', shmsize="1048576", memory="64000000", memswap="-1",
        cpushares="5", cpuperiod="10", cpuquota="20", cpusetcpus="0", cpusetmems="0", target="t", securityopt='["seccomp=unconfined"]',
    )  # fmt: skip
    expected = {
        "--label=l=v", "--ulimit=nofile=1:2", "--shm-size=1048576", "--memory=64000000", "--memory-swap=-1", "--cpu-shares=5",
        "--cpu-period=10", "--cpu-quota=20", "--cpuset-cpus=0", "--cpuset-mems=0", "--target=t", "--security-opt=seccomp=unconfined",
        "--add-host=one:1.2.3.4", "--add-host=two:::1", "--build-arg=A=1", "--layers", "--pull-never",
    }  # fmt: skip
    assert expected <= set(line)
    assert (line[line.index("--network") + 1], line[line.index("--cgroup-parent") + 1]) == ("ns:/n", "/covey/x")
    assert line[-1] == "/b/context"


def test_without_a_cache_no_layers_are_looked_up() -> None:
    assert "--no-cache" in arguments(nocache="1")
    assert "--layers" not in arguments(nocache="1")


@pytest.mark.parametrize(
    ("query", "kind", "words"),
    [
        ({"squash": "1"}, UnsupportedError, "squash"),
        ({"version": "2"}, UnsupportedError, "version=2"),
        ({"outputs": '[{"Type":"local"}]'}, UnsupportedError, "outputs"),
        ({"labels": "[]"}, InvalidArgumentError, "error reading labels"),
        ({"shmsize": "1m"}, InvalidArgumentError, "invalid shmsize '1m'"),
        ({"isolation": "hyperv"}, InvalidArgumentError, "unsupported isolation"),
        ({"securityopt": '["x=y"]'}, UnsupportedError, "securityopt"),
        ({"buildargs": '{"":"x"}'}, InvalidArgumentError, "build argument"),
    ],
)
def test_a_refusal_names_the_parameter(query: dict[str, str], kind: type[CoveyError], words: str) -> None:
    with pytest.raises(kind, match=words):
        check_request(read_request(query, {}))


def test_credentials_are_found_by_the_registry_s_host() -> None:
    given = {
        "https://index.docker.io/v1/": {"username": "a", "password": "b"},
        "reg:5000": {"auth": base64.b64encode(b"c:d").decode()},
    }
    found = read_credentials(base64.urlsafe_b64encode(json.dumps(given).encode()).decode())
    assert {host: each.username for host, each in found.items()} == {"docker.io": "a", "reg:5000": "c"}
    assert read_credentials("nonsense") == {}
