"""Networks of one host through the API, driven by the docker client, beside those of the cluster."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_daemon import Daemon, running


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(tmp_path) as made:
        yield made


async def inspect(daemon: Daemon, name: str) -> dict[str, Any]:
    out, _ = await daemon.docker("network", "inspect", name)
    found: dict[str, Any] = json.loads(out)[0]
    return found


async def names(daemon: Daemon, *filters: str) -> list[str]:
    flags = [part for each in filters for part in ("--filter", each)]
    out, _ = await daemon.docker("network", "ls", "--format", "{{.Name}}", *flags)
    return sorted(out.split())


async def test_a_host_without_a_cluster_creates_inspects_and_removes_networks(daemon: Daemon) -> None:
    out, _ = await daemon.docker(
        "network", "create", "--subnet", "10.5.0.0/24", "--ip-range", "10.5.0.128/25", "--gateway", "10.5.0.1",
        "--aux-address", "router=10.5.0.9", "--ipv6", "--subnet", "fd05::/64", "--label", "a=b", "--internal",
        "-o", "com.docker.network.driver.mtu=1400", "web",
    )  # fmt: skip
    found = await inspect(daemon, "web")
    assert (found["Id"], found["Scope"], found["Driver"]) == (out.strip(), "local", "bridge")
    assert len(out.strip()) == 64
    found["IPAM"]["Config"].sort(key=lambda config: config["Subnet"])  # the client sends them in any order
    assert found["IPAM"] == {
        "Driver": "default",
        "Options": None,
        "Config": [
            {
                "Subnet": "10.5.0.0/24",
                "IPRange": "10.5.0.128/25",
                "Gateway": "10.5.0.1",
                "AuxiliaryAddresses": {"router": "10.5.0.9"},
            },
            {"Subnet": "fd05::/64", "Gateway": "fd05::1"},
        ],
    }
    assert (found["Internal"], found["EnableIPv4"], found["EnableIPv6"], found["Labels"]) == (
        True,
        True,
        True,
        {"a": "b"},
    )
    assert found["Options"] == {"com.docker.network.driver.mtu": "1400"}
    await daemon.docker("network", "rm", "web")
    _, err = await daemon.docker("network", "inspect", "web", check=1)
    assert "network web not found" in err


async def test_the_cluster_and_the_host_have_networks_side_by_side_and_one_name_means_one_of_them(
    daemon: Daemon,
) -> None:
    await daemon.docker("network", "create", "here")
    _, err = await daemon.docker("network", "create", "-d", "overlay", "wide", check=1)
    assert "This node is not a swarm manager" in err
    _, err = await daemon.docker("network", "create", "--scope", "swarm", "wide", check=1)
    assert "cannot create a swarm scoped network when swarm is not active" in err
    await daemon.docker("swarm", "init")
    await daemon.docker("network", "create", "-d", "overlay", "wide")
    await daemon.docker("network", "create", "there")
    for driver, name in (("overlay", "here"), ("bridge", "wide")):
        _, err = await daemon.docker("network", "create", "-d", driver, name, check=1)
        assert f"network with name {name} already exists" in err
    assert await names(daemon) == ["bridge", "here", "host", "none", "there", "wide"]


async def test_lists_are_filtered_as_docker_does_it(daemon: Daemon) -> None:
    for name in ("front", "back"):
        await daemon.docker("network", "create", "--label", f"side={name}", name)
    await daemon.docker("network", "create", "--config-only", "settings")
    assert await names(daemon, "driver=bridge") == ["back", "bridge", "front"]
    assert await names(daemon, "label=side=front") == ["front"]
    assert await names(daemon, "label=side") == ["back", "front"]
    assert await names(daemon, "name=ron") == ["front"]
    assert await names(daemon, "scope=swarm") == []
    assert await names(daemon, "type=builtin") == ["bridge", "host", "none"]
    assert await names(daemon, "dangling=true", "driver=bridge") == ["back", "front"]
    assert await names(daemon, "dangling=false") == ["bridge", "host", "none"]
    key = (await inspect(daemon, "front"))["Id"]
    assert await names(daemon, f"id={key[:12]}") == ["front"]
    _, err = await daemon.docker("network", "ls", "--filter", "dangling=x", check=1)
    assert "invalid" in err


async def test_a_prune_removes_what_nothing_uses_and_obeys_its_filters(daemon: Daemon) -> None:
    await daemon.docker("network", "create", "--config-only", "settings")
    await daemon.docker("network", "create", "--config-from", "settings", "made")
    await daemon.docker("network", "create", "--label", "keep=1", "kept")
    await daemon.docker("network", "create", "--label", "old=1", "old")
    out, _ = await daemon.docker("network", "prune", "-f", "--filter", "until=1h")
    assert out == ""
    out, _ = await daemon.docker("network", "prune", "-f", "--filter", "label=old")
    assert out.split() == ["Deleted", "Networks:", "old"]
    out, _ = await daemon.docker("network", "prune", "-f", "--filter", "label!=keep")
    assert out.split() == ["Deleted", "Networks:", "made"]
    assert await names(daemon, "type=custom") == ["kept", "settings"]


async def test_events_tell_of_creation_and_removal(daemon: Daemon) -> None:
    await daemon.docker("network", "create", "web")
    await daemon.docker("network", "rm", "web")
    async with asyncio.timeout(10):
        while True:
            out, _ = await daemon.docker("events", "--since", "1m", "--until", "0s", "--filter", "type=network", "--format", "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}")  # fmt: skip
            if len(out.splitlines()) == 2:
                break
    assert out.splitlines() == ["create web bridge", "destroy web bridge"]


REFUSALS = [
    ({"Name": "web", "Ingress": True}, 403, "Ingress network can only be global scope network"),
    ({"Name": "bridge"}, 403, "operation is not permitted on predefined bridge network "),
    ({"Name": "web", "ConfigFrom": {"Network": "nowhere"}}, 404, 'configuration network "nowhere" does not exist'),
    ({"Name": "web", "IPAM": {"Config": [{"Subnet": "10.0.0.0/33"}]}}, 400, "invalid subnet 10.0.0.0/33"),
    ({"Name": "web", "Scope": "planet"}, 400, "invalid scope 'planet'"),
    ({"Name": "web", "Scope": "swarm", "Driver": "overlay"}, 403, "cannot create a swarm scoped network when swarm is not active"),
    ({"Name": "web", "EnableIPv4": "x"}, 400, "cannot unmarshal string into Go struct field EnableIPv4 of type bool"),
    ({"Name": "web", "CheckDuplicate": "x"}, 400, "cannot unmarshal string into Go struct field CheckDuplicate of type bool"),
    ({"Name": "web", "Driver": "nope"}, 404, 'plugin "nope" not found'),
]  # fmt: skip


async def test_filters_by_name_and_id_are_regular_expressions_as_in_docker(daemon: Daemon) -> None:
    """Compose looks for `^PROJECT_NETWORK$`."""
    for name in ("web", "webs"):
        await daemon.docker("network", "create", name)
    assert await names(daemon, "name=^web$") == ["web"]
    assert await names(daemon, "name=eb") == ["web", "webs"]
    assert await names(daemon, "name=[") == []
    network_id = (await inspect(daemon, "web"))["Id"]
    assert await names(daemon, f"id={network_id[3:20]}") == ["web"]


async def test_a_prune_takes_one_moment(daemon: Daemon) -> None:
    _, err = await daemon.docker("network", "prune", "-f", "--filter", "until=1h", "--filter", "until=2h", check=1)
    assert "more than one until filter specified" in err


@pytest.mark.parametrize(("body", "status", "words"), REFUSALS)
async def test_bad_requests_have_dockers_status_and_change_nothing(
    daemon: Daemon, body: dict[str, Any], status: int, words: str
) -> None:
    found, answer = await daemon.request("POST", "/networks/create", json=body)
    assert found == status
    assert words in answer["message"]
    assert await names(daemon) == ["bridge", "host", "none"]
