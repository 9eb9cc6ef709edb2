"""Flags of ``service create`` and ``service update`` store the same spec as those of the docker client."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.api_daemon import Daemon, running

CREATES: list[Sequence[str]] = [
    (),
    ("--replicas", "0", "-e", "A=1", "--env", "B=two words", "-l", "a=1", "--container-label", "b=2"),
    ("--mode", "global", "--constraint", "node.role==worker", "--restart-condition", "none"),
    (
        "--limit-cpu",
        ".5",
        "--limit-memory",
        "64m",
        "--limit-pids",
        "20",
        "--reserve-cpu",
        "0.1",
        "--reserve-memory",
        "8MiB",
    ),
    ("--restart-delay", "1m30s", "--restart-max-attempts", "3", "--restart-window", "2h", "--stop-grace-period", "3s"),
    (
        *("--update-parallelism", "0", "--update-delay", "2s", "--update-failure-action", "rollback"),
        *("--update-monitor", "1s", "--update-max-failure-ratio", "0.5", "--update-order", "start-first"),
        *("--rollback-parallelism", "2", "--rollback-order", "start-first", "--rollback-monitor", "2s"),
    ),
    ("--secret", "source=token,target=renamed,uid=5,gid=6,mode=0400", "--secret", "other", "--config", "page"),
    ("--network", "name=front,alias=shop", "--network", "back", "--endpoint-mode", "dnsrr"),
    ("--network", "name=front,driver-opt=a.b=c,driver-opt=d=e"),
    ("-p", "8080:80", "-p", "53:53/udp", "--publish", "5000:5000/sctp", "-p", "81", "-p", "9000-9002:90-92"),
    ("-p", "published=8443,target=443,mode=host,protocol=TCP", "-p", "target=82", "-p", "7000-7001:70"),
    ("-p", "mode=host,published=53,target=53,protocol=udp", "--endpoint-mode", "dnsrr"),
    (
        "--mount",
        "type=volume,source=data,target=/data,volume-nocopy,volume-label=x=y",
        "--mount",
        "type=bind,src=/tmp,dst=/t,ro",
    ),
    ("--mount", "type=tmpfs,target=/scratch,tmpfs-size=1m,tmpfs-mode=1770", "--read-only", "--init", "-t"),
    ("--hostname", "box-{{.Task.Slot}}", "-u", "0:0", "-w", "/tmp", "--group", "20", "--oom-score-adj", "100"),
    ("--health-cmd", "true", "--health-interval", "1m", "--health-retries", "2", "--health-start-period", "5s"),
    (
        "--no-healthcheck",
        "--entrypoint",
        "sh -c",
        "--dns",
        "192.0.2.1",
        "--dns-option",
        "ndots:1",
        "--dns-search",
        "a.test",
    ),
    ("--host", "db:192.0.2.7", "--cap-add", "net_admin", "--cap-drop", "CAP_MKNOD", "--ulimit", "nofile=100:200"),
    (
        "--sysctl",
        "net.core.somaxconn=100",
        "--placement-pref",
        "spread=node.labels.zone",
        "--replicas-max-per-node",
        "3",
    ),
]
UPDATES: list[Sequence[str]] = [
    ("--replicas", "3"),
    ("--env-add", "A=2", "--env-add", "NEW=1", "--env-rm", "B"),
    ("--label-add", "c=3", "--label-rm", "a", "--container-label-add", "d=4", "--container-label-rm", "b"),
    ("--secret-rm", "token", "--secret-add", "other", "--config-rm", "page"),
    ("--network-rm", "front", "--network-add", "back"),
    ("--publish-rm", "80", "--publish-add", "8081:80"),
    ("--publish-rm", "90-91", "--publish-add", "mode=host,target=80,published=8082"),
    ("--publish-add", "8080:80", "--publish-rm", "mode=host,target=443"),
    ("--publish-rm", "8080:80"),
    ("--mount-rm", "/data", "--mount-add", "type=tmpfs,target=/scratch"),
    ("--constraint-rm", "node.role==manager", "--constraint-add", "node.role!=nothing"),
    ("--cap-drop", "net_admin", "--cap-add", "SYS_TIME"),
    ("--image", "covey-test:2", "--args", "sleep 2000000", "--force"),
    ("--host-rm", "db:192.0.2.7", "--host-add", "web:192.0.2.8", "--dns-rm", "192.0.2.1", "--dns-add", "192.0.2.2"),
    ("--ulimit-rm", "nofile", "--sysctl-rm", "net.core.somaxconn", "--hostname", "other", "--limit-memory", "32m"),
    (
        "--placement-pref-rm",
        "spread=node.labels.zone",
        "--update-delay",
        "1s",
        "--no-healthcheck",
        "--stop-grace-period",
        "1s",
    ),
]
RICH = (
    *("--replicas", "0", "-e", "A=1", "-e", "B=1", "-l", "a=1", "--container-label", "b=2", "--secret", "token"),
    *("--config", "page", "--network", "front", "--mount", "type=volume,source=data,target=/data"),
    *("-p", "8080:80", "-p", "90-92", "-p", "mode=host,target=443,published=8443"),
    *("--constraint", "node.role==manager", "--cap-add", "net_admin", "--host", "db:192.0.2.7", "--dns", "192.0.2.1"),
    *(
        "--ulimit",
        "nofile=100:200",
        "--sysctl",
        "net.core.somaxconn=100",
        "--placement-pref",
        "spread=node.labels.zone",
    ),
)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """A manager with the secrets, the config and the networks that the flags name."""
    async with running(tmp_path) as made:
        await made.form_cluster()
        for name in ("token", "other"):
            await made.docker("secret", "create", name, "-", stdin=name.encode())
        await made.docker("config", "create", "page", "-", stdin=b"page")
        for name in ("front", "back"):
            await made.docker("network", "create", "-d", "overlay", name)
        await made.docker("network", "create", "-d", "overlay", "--ingress", "mesh")
        yield made


def stored_spec(daemon: Daemon, name: str) -> dict[str, Any]:
    """The spec of a service in the store, without its name and empty values; lists are ordered."""
    (service,) = [item for item in daemon.store.view().services if item.spec.annotations.name == name]

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            items = {key: filled(item) for key, item in value.items()}
            return {key: item for key, item in items.items() if item not in (None, "", [], {}, False, 0)}
        return sorted((filled(item) for item in value), key=str) if isinstance(value, list | tuple) else value

    spec: dict[str, Any] = filled(msgspec.to_builtins(service.spec))
    del spec["annotations"]["name"]
    return spec


@pytest.mark.parametrize("flags", CREATES, ids=lambda flags: " ".join(flags)[:40] or "none")
async def test_flags_of_create_mean_what_dockers_mean(daemon: Daemon, flags: Sequence[str]) -> None:
    specs = []
    for run in (daemon.docker, daemon.covey):  # one after the other, because they publish the same ports
        options = ["--detach", "--no-resolve-image", "--name", "web", "--stop-signal", "SIGKILL", *flags]
        await run("service", "create", *options, "web:1", "sleep", "5")
        specs.append(stored_spec(daemon, "web"))
        await daemon.docker("service", "rm", "web")
    assert specs[0] == specs[1]


@pytest.mark.parametrize("flags", UPDATES, ids=lambda flags: " ".join(flags)[:40])
async def test_flags_of_update_mean_what_dockers_mean(daemon: Daemon, flags: Sequence[str]) -> None:
    specs = []
    for run in (daemon.docker, daemon.covey):
        create = ["--detach", "--no-resolve-image", "--name", "web", *RICH]
        await daemon.docker("service", "create", *create, "web:1", "sleep", "5")
        await run("service", "update", "--detach", "--no-resolve-image", *flags, "web")
        specs.append(stored_spec(daemon, "web"))
        await daemon.docker("service", "rm", "web")
    assert specs[0] == specs[1]
