"""VXLAN ids that something else of this host holds: in use, left by a dead daemon, or of a foreign owner. On a real kernel."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.network import links, netns
from agent.network.model import Attachment, NetworkChanges
from covey.errors import UnavailableError
from tests.support.switched_hosts import overlay, switched_hosts

pytestmark = pytest.mark.root


async def test_a_vxlan_id_in_use_fails_its_network_only_and_is_retried(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        driver = net.hosts[0].driver
        failures = await driver.apply(NetworkChanges(networks=(overlay("a"), overlay("b"), overlay("c", vni=4098))))
        (failed,) = (failure.network_id for failure in failures)
        (other,) = {"a", "b"} - {failed}
        assert "4097 is in use" in failures[0].reason
        await driver.create_sandbox("c1")
        with pytest.raises(UnavailableError, match="4097 is in use"):
            await driver.attach("c1", Attachment(failed, "10.0.1.5/24", "eth0"))
        assert await driver.apply(NetworkChanges(removed_networks=(other,))) == ()
        assert sorted(path.name for path in (net.hosts[0].folder / "netns/networks").iterdir()) == [failed, "c"]


@contextlib.contextmanager
def process_called(name: str) -> Iterator[int]:
    with subprocess.Popen([name, "60"], executable="/bin/sleep") as process:
        try:
            yield process.pid
        finally:
            process.kill()


def device_names(path: Path) -> list[str]:
    sandbox = netns.Namespace(str(path))
    try:
        return links.run_in_namespace(
            sandbox, "read", lambda route: [link.get_attr("IFLA_IFNAME") for link in route.get_links()]
        )
    finally:
        sandbox.close()


async def test_a_vxlan_id_that_a_dead_daemon_left_elsewhere_is_taken_over_and_that_of_a_live_one_is_not(
    tmp_path: Path,
) -> None:
    """Seen as: a new daemon rejected tasks, "VXLAN id 4097 is in use", until somebody found the sandbox of the old one."""
    async with switched_hosts(tmp_path, 2) as net:
        host, other = net.hosts
        # The same id on another host of this machine is nobody's business here.
        await other.driver.apply(NetworkChanges(networks=(overlay("elsewhere"),)))
        assert await host.driver.apply(NetworkChanges(networks=(overlay("old"),))) == ()
        await host.driver.close()
        left, host.folder = host.folder, tmp_path / "new"
        host.driver = host.new_driver()
        await host.driver.start()
        with process_called("coveyd") as pid:
            (left / "coveyd.pid").write_text(f"{pid}\n")
            (failure,) = await host.driver.apply(NetworkChanges(networks=(overlay(),)))
            owner = f"the device vxlan0 in a sandbox of the Covey daemon of {left} (process {pid})"
            assert f"VXLAN id 4097 is in use on this host by {owner}" in failure.reason
        try:
            (left / "coveyd.pid").write_text(f"{os.getpid()}\n")  # the number belongs to another process by now
            assert await host.driver.apply(NetworkChanges(networks=(overlay(),))) == ()
            assert "vxlan0" not in device_names(left / "netns/networks/old")
            assert "vxlan0" in device_names(other.folder / "netns/networks/elsewhere")
        finally:
            links.remove_namespace(left / "netns/networks/old")


async def test_the_foreign_owner_of_a_vxlan_id_is_named(tmp_path: Path) -> None:
    async with switched_hosts(tmp_path, 1) as net:
        host = net.hosts[0]
        foreign = tmp_path / "foreign" / "1-swarm"
        netns.create(foreign)
        try:
            space = netns.Namespace(str(foreign))
            links.run_in_namespace(
                host.namespace,
                "make a VXLAN device",
                lambda route: route.link(
                    "add", ifname="vx-other", kind="vxlan", vxlan_id=4097, vxlan_port=4789, net_ns_fd=space.fd
                ),
            )
            space.close()
            (failure,) = await host.driver.apply(NetworkChanges(networks=(overlay(),)))
            assert (
                "network web is not available here: VXLAN id 4097 is in use on this host by the device vx-other"
                in failure.reason
            )
            assert f"nsenter --net={foreign} ip link delete vx-other" in failure.reason
        finally:
            links.remove_namespace(foreign)
