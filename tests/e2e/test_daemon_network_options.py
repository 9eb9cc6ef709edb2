"""The daemon's network options in its configuration file, on a lab of one host: the default bridge, and a firewall that is managed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab import host as machine
from tests.support import echo_client, echo_server, labs
from tests.support.labs import IMAGE, LabCluster, unique, wait

pytestmark = pytest.mark.root
SERVER, CLIENT = str(Path(echo_server.__file__)), str(Path(echo_client.__file__))
SYSTEM = [
    f"--volume={path}:{path}:ro" for path in ("/usr", "/lib", "/lib64", "/etc/ld.so.cache") if Path(path).exists()
]
OUTSIDE, HOST = "192.168.77.254", "192.168.77.1"
OUTSIDE6, HOST6 = "fd00:77::fe", "fd00:77::1"
FOLDER = Path("/etc/covey")
BRIDGE = """
bip = "10.9.0.1/16"
fixed-cidr = "10.9.4.0/24"
ipv6 = true
fixed-cidr-v6 = "fd00:9::/64"
mtu = 1400
icc = false
ip = "192.168.77.1"
"""


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    is_new = not FOLDER.exists()
    FOLDER.mkdir(exist_ok=True)
    try:
        with labs.running_lab("netopts", 1, init_cluster=False, archive=images) as running:
            running.inside(running[1], "mount", "-t", "tmpfs", "none", str(FOLDER))
            yield running
    finally:
        if is_new:
            FOLDER.rmdir()


def configure(lab: LabCluster, text: str) -> None:
    lab.inside(lab[1], "sh", "-c", "cat > /etc/covey/coveyd.toml", stdin=text.encode())


def restart(lab: LabCluster, text: str) -> None:
    """Start the daemon again with another configuration."""
    configure(lab, text)
    machine.crash_daemon(lab[1])
    lab.start(lab[1])


def serve(lab: LabCluster, *options: str) -> str:
    name = unique("echo")
    lab.docker("run", "-d", "--init", "--name", name, "--hostname", name, f"--volume={SERVER}:/echo.py:ro", *SYSTEM, *options,
               IMAGE, "/usr/bin/python3", "/echo.py", "80")  # fmt: skip
    wait(lambda: inside(lab, name, "127.0.0.1", 80).startswith(name), f"{name} serves")
    return name


def inside(lab: LabCluster, container: str, address: str, port: int) -> str:
    """The answer to a client in a container."""
    pid = lab.docker("inspect", "--format", "{{.State.Pid}}", container).out.strip()
    return lab.inside(lab[1], "nsenter", "-t", pid, "-n", sys.executable, CLIENT, "tcp", address, str(port)).out.strip()


def outside(lab: LabCluster, address: str, port: int) -> str:
    return lab.outside(sys.executable, CLIENT, "tcp", address, str(port)).out.strip()


def rules(lab: LabCluster) -> str:
    return lab.inside(lab[1], "nft", "list", "ruleset").out


@pytest.mark.parametrize("family", ["ip", "inet", "ip6"])
def test_a_managed_firewall_carries_published_ports_and_what_containers_begin_in_both_families(
    lab: LabCluster, family: str
) -> None:
    """The chain drops, is opened by a reload of the option, is flushed, and closes again when the option goes."""
    lab.docker("network", "create", "--ipv6", "dual")
    name = serve(lab, "-p", "8080:80", "--network", "dual")
    dropped = {"ip": (4,), "ip6": (6,), "inet": (4, 6)}[family]
    hosts = {4: HOST, 6: HOST6}
    lab.inside(lab[1], "nft", f"add table {family} own; add chain {family} own through "
               "{ type filter hook forward priority 1; policy drop; }")  # fmt: skip
    try:
        for version in dropped:
            assert outside(lab, hosts[version], 8080).startswith("error")
        wait(lambda: f"table {family} own" in lab.docker("info").err, "the warning in docker info")
        other = unique("told")
        told = lab.docker("create", "--name", other, "-p", "8099:80", IMAGE, "true").err
        assert "WARNING: Published ports may not answer" in told
        lab.docker("rm", other)
        shown = run_verify(lab)
        assert f"chain {family} own through" in shown
        assert "foreign" in shown
        reload(lab, "manage-firewall = true\n")
        wait(lambda: "covey0: containers" in rules(lab), "the rules")
        wait(lambda: f"table {family} own" not in lab.docker("info").err, "no warning in docker info")
        with lab_server_outside(lab):
            for address in (OUTSIDE, OUTSIDE6):
                assert not inside(lab, name, address, 9292).startswith("error")
        for address in (HOST, HOST6):
            assert outside(lab, address, 8080).startswith(name)
        lab.inside(lab[1], "nft", f"flush chain {family} own through")
        wait(lambda: "covey0: containers" in rules(lab), "the rules after a flush", 1)
        assert outside(lab, hosts[dropped[0]], 8080).startswith(name)
        reload(lab, "")
        wait(lambda: "covey0: containers" not in rules(lab), "the removal of the rules")
        assert outside(lab, hosts[dropped[0]], 8080).startswith("error")
    finally:
        lab.inside(lab[1], "nft", f"delete table {family} own")
        lab.docker("rm", "-f", name)
        lab.docker("network", "rm", "dual")


def test_the_default_bridge_has_the_addresses_mtu_and_binding_of_the_file(lab: LabCluster) -> None:
    before = serve(lab)
    restart(lab, BRIDGE)
    bridge = lab.json("network", "inspect", "bridge")[0]
    assert [one.get("Subnet") for one in bridge["IPAM"]["Config"]] == ["10.9.0.0/16", "fd00:9::/64"]
    assert bridge["EnableIPv6"]
    lab.docker("rm", "-f", before)
    one, two = serve(lab, "-p", "8090:80"), serve(lab)
    settings = lab.json("inspect", one)[0]["NetworkSettings"]
    assert settings["Networks"]["bridge"]["IPAddress"].startswith("10.9.4.")
    assert settings["Networks"]["bridge"]["GlobalIPv6Address"].startswith("fd00:9::")
    assert settings["Ports"]["80/tcp"] == [{"HostIp": "192.168.77.1", "HostPort": "8090"}]
    assert "mtu 1400" in lab.docker("exec", one, "ip", "link", "show", "eth0").out
    assert outside(lab, HOST, 8090).split()[:2] == [one, OUTSIDE]
    assert inside(lab, two, settings["Networks"]["bridge"]["IPAddress"], 80).startswith("error")
    run_verify(lab, "--repair")
    assert "No differences" in run_verify(lab)
    assert "172.17.0.1" not in lab.inside(lab[1], "ip", "address", "show", "dev", "covey0").out
    lab.docker("rm", "-f", one, two)


def test_a_network_option_that_the_daemon_cannot_follow_keeps_it_from_starting(lab: LabCluster) -> None:
    configure(lab, "iptables = false\n")
    coveyd = str(Path(sys.executable).with_name("coveyd"))
    refused = lab.inside(lab[1], coveyd, "--validate", check=1)
    assert "unable to configure the daemon with file /etc/covey/coveyd.toml: iptables: False is not" in refused.err


def reload(lab: LabCluster, text: str) -> None:
    configure(lab, text)
    lab.inside(lab[1], "kill", "-HUP", str(machine.daemon_pid(lab[1])))


def run_verify(lab: LabCluster, *options: str) -> str:
    covey = str(Path(sys.executable).with_name("covey"))
    return labs.run(
        [covey, "network", "verify", "--host", "--no-trunc", *options], env=lab.environment(), check=None
    ).out


def lab_server_outside(lab: LabCluster) -> contextlib.AbstractContextManager[None]:
    """A server outside the cluster, on port 9292."""
    command = ["ip", "netns", "exec", lab.lab.switch, sys.executable, SERVER, "9292", "until-stdin-closes"]
    return labs.serving(command)
