"""Warnings about host firewalls that drop forwarded packets, and the commands in them."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.network import firewall
from agent.network.nftables import NftablesContext
from tests.support.switched_hosts import HostUnderTest, SwitchedHosts, overlay, switched_hosts

pytestmark = pytest.mark.root

NFT = "add table {0}; add chain {0} forward {{ type filter hook forward priority 0; policy drop; }}"


def run_on(host: HostUnderTest, command: str) -> None:
    subprocess.run(["nsenter", f"--net={host.namespace.path}", "sh", "-ec", command], check=True, timeout=20)


def nft(host: HostUnderTest, text: str) -> None:
    rules = NftablesContext(host.namespace)
    try:
        rules.run(text)
    finally:
        rules.close()


async def has_outbound_access(net: SwitchedHosts, seconds: float = 5) -> bool:
    """Whether a container on the first host can connect to an outside server. The bridge port may need a second to be up."""
    container = await net.run_task(net.hosts[0], 5)
    await net.hosts[0].connect(container.id, "bridge", "eth1")
    outside = net.switch.run(lambda: socket.create_server(("10.99.0.254", 0)))
    try:
        port = outside.getsockname()[1]
        link = await container.run(lambda: socket.create_connection(("10.99.0.254", port), timeout=seconds))
    except (TimeoutError, ConnectionRefusedError):
        return False
    else:
        link.close()
        return True
    finally:
        outside.close()
        await net.hosts[0].disconnect(container.id)


async def test_a_host_without_a_firewall_gets_no_warning(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        assert firewall.warnings(net.hosts[0].namespace, "covey0") == ()


@pytest.mark.parametrize("table", ["ip other", "inet own"])
async def test_a_dropping_forward_chain_is_named_and_the_commands_allow_traffic(tmp_path: Path, table: str) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        net.networks.append(overlay())
        await net.apply()
        host = net.hosts[0]
        assert await has_outbound_access(net)
        nft(host, NFT.format(table))
        [warning] = firewall.warnings(host.namespace, "covey0")
        assert table in warning
        assert not await has_outbound_access(net, seconds=2)
        for command in re.findall(r"nft (insert [^;]+)", warning):
            nft(host, command)
        assert firewall.warnings(host.namespace, "covey0") == ()
        assert await has_outbound_access(net)


@pytest.mark.parametrize("tool", ["iptables-nft", "iptables-legacy"])
async def test_dockers_drop_policy_is_found_with_either_iptables_and_the_commands_allow_traffic(
    tmp_path: Path, tool: str
) -> None:
    assert shutil.which(tool), f"{tool} is missing: apt-get install iptables"
    async with switched_hosts(tmp_path, 1) as net:
        net.networks.append(overlay())
        await net.apply()
        host = net.hosts[0]
        run_on(host, f"{tool} -P FORWARD ACCEPT")
        assert firewall.warnings(host.namespace, "covey0") == ()
        run_on(
            host,
            f"{tool} -P FORWARD DROP; {tool} -A FORWARD -i docker0 -j ACCEPT; {tool} -A FORWARD -i covey01 -j ACCEPT",
        )
        [warning] = firewall.warnings(host.namespace, "covey0")
        assert not await has_outbound_access(net, seconds=2)
        run_on(host, warning.partition("Allow them: ")[2].replace("iptables", tool))
        assert firewall.warnings(host.namespace, "covey0") == ()
        assert await has_outbound_access(net)


async def test_the_driver_logs_the_warning_at_its_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        host = net.hosts[0]
        await host.driver.close()
        nft(host, NFT.format("inet own"))
        host.driver = host.new_driver()
        with caplog.at_level(logging.WARNING):
            await host.driver.start()
        assert "containers may have no outbound access" in caplog.text
        assert len(host.driver.warnings) == 1


ADD = {
    "nft": "nft 'add table inet own; add chain inet own through { type filter hook forward priority 5; policy drop; }'",
    "reject": "nft 'add table inet own; add chain inet own through { type filter hook forward priority 5; }; "
    "add rule inet own through ct state invalid drop; add rule inet own through counter reject'",
    "iptables-nft": "iptables-nft -P FORWARD DROP; ip6tables-nft -P FORWARD DROP",
    "iptables-legacy": "iptables-legacy -P FORWARD DROP; ip6tables-legacy -P FORWARD DROP",
}
FLUSH = {
    "nft": "nft flush chain inet own through",
    "reject": "nft 'flush chain inet own through; add rule inet own through drop'",
    "iptables-nft": "iptables-nft -F; ip6tables-nft -F",
    "iptables-legacy": "iptables-legacy -F; iptables-legacy -X; ip6tables-legacy -F FORWARD",
}


def rules_of(host: HostUnderTest) -> str:
    """All rules of the host's firewall, of nftables and of iptables-legacy."""
    command = "nft list ruleset; iptables-legacy-save -t filter; ip6tables-legacy-save -t filter"
    shown = ["nsenter", f"--net={host.namespace.path}", "sh", "-c", command]
    return subprocess.run(shown, check=True, timeout=20, capture_output=True, text=True).stdout


async def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not (holds := await asyncio.to_thread(condition)) and time.monotonic() < deadline:
        await asyncio.to_thread(time.sleep, 0.05)
    assert holds, f"not within {seconds} s: {what}"


@pytest.mark.parametrize("kind", list(ADD))
async def test_a_managed_firewall_lets_containers_out_after_a_reload_too_until_the_option_goes(
    tmp_path: Path, kind: str
) -> None:
    """A container connects; the firewall is flushed, and connects again; a crash leaves the rules once; without the option none is left."""
    async with switched_hosts(tmp_path, 1) as net:
        net.networks.append(overlay())
        await net.apply()
        host = net.hosts[0]
        run_on(host, ADD[kind])
        assert not await has_outbound_access(net, seconds=2)
        assert "foreign" in {one.kind for one in await host.driver.verify()}
        assert "containers" not in rules_of(host)
        await host.driver.close()
        managed = True
        host.driver = host.new_driver(lambda: managed)
        await host.driver.start()
        await net.apply()
        assert host.driver.warnings == ()
        assert not [one for one in await host.driver.verify() if one.kind == "foreign"]
        assert await has_outbound_access(net)
        before = rules_of(host).count(": containers")
        run_on(host, FLUSH[kind])
        await until(lambda: rules_of(host).count(": containers") == before, "the rules after a flush", 2.5)
        assert await has_outbound_access(net)
        await host.driver.close()
        host.driver = host.new_driver(lambda: managed)
        await host.driver.start()
        await net.apply()
        assert rules_of(host).count(": containers") == before
        managed = False
        await until(lambda: ": containers" not in rules_of(host), "the removal of the rules", 3)
        assert "-forward" not in rules_of(host)
        await until(lambda: bool(host.driver.warnings), "the warning", 2)
