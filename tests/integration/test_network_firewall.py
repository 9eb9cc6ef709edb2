"""Warnings about host firewalls that drop forwarded packets, and the commands in them."""

from __future__ import annotations

import logging
import re
import shutil
import socket
import subprocess
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
    except TimeoutError:
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
