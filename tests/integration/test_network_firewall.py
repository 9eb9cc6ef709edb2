"""Hosts whose firewall drops forwarded packets: the warning, and the commands in it."""

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


def within(host: HostUnderTest, command: str) -> None:
    subprocess.run(["nsenter", f"--net={host.namespace.path}", "sh", "-ec", command], check=True, timeout=20)


def nft(host: HostUnderTest, text: str) -> None:
    rules = NftablesContext(host.namespace)
    try:
        rules.run(text)
    finally:
        rules.close()


async def reaches_the_outside(board: SwitchedHosts, seconds: float = 5) -> bool:
    """A container on the first host calls somebody outside. The bridge's first port may take a second to be up."""
    container = await board.run_task(board.hosts[0], 5)
    await board.hosts[0].driver.attach_outbound(container.id, "eth1")
    outside = board.switch.run(lambda: socket.create_server(("10.99.0.254", 0)))
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
        await board.hosts[0].driver.destroy_sandbox(container.id)


async def test_a_host_without_a_firewall_gets_no_warning(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as board:
        assert firewall.warnings(board.hosts[0].namespace, "covey0") == ()


@pytest.mark.parametrize("table", ["ip other", "inet own"])
async def test_a_dropping_forward_chain_is_named_and_the_commands_allow_traffic(tmp_path: Path, table: str) -> None:
    async with switched_hosts(tmp_path, 1) as board:
        board.networks.append(overlay())
        await board.apply()
        host = board.hosts[0]
        assert await reaches_the_outside(board)
        nft(host, NFT.format(table))
        [warning] = firewall.warnings(host.namespace, "covey0")
        assert table in warning
        assert not await reaches_the_outside(board, seconds=2)
        for command in re.findall(r"nft (insert [^;]+)", warning):
            nft(host, command)
        assert firewall.warnings(host.namespace, "covey0") == ()
        assert await reaches_the_outside(board)


@pytest.mark.parametrize("tool", ["iptables-nft", "iptables-legacy"])
async def test_dockers_drop_policy_is_found_with_either_iptables_and_the_commands_allow_traffic(
    tmp_path: Path, tool: str
) -> None:
    assert shutil.which(tool), f"{tool} is missing: apt-get install iptables"
    async with switched_hosts(tmp_path, 1) as board:
        board.networks.append(overlay())
        await board.apply()
        host = board.hosts[0]
        within(host, f"{tool} -P FORWARD ACCEPT")
        assert firewall.warnings(host.namespace, "covey0") == ()
        within(
            host,
            f"{tool} -P FORWARD DROP; {tool} -A FORWARD -i docker0 -j ACCEPT; {tool} -A FORWARD -i covey01 -j ACCEPT",
        )
        [warning] = firewall.warnings(host.namespace, "covey0")
        assert not await reaches_the_outside(board, seconds=2)
        within(host, warning.partition("Allow them: ")[2].replace("iptables", tool))
        assert firewall.warnings(host.namespace, "covey0") == ()
        assert await reaches_the_outside(board)


async def test_the_driver_logs_the_warning_at_its_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with switched_hosts(tmp_path, 1) as board:
        host = board.hosts[0]
        await host.driver.close()
        nft(host, NFT.format("inet own"))
        host.driver = host.new_driver()
        with caplog.at_level(logging.WARNING):
            await host.driver.start()
        assert "containers may have no outbound access" in caplog.text
        assert len(host.driver.warnings) == 1
