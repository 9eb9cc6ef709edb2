"""Networks of single hosts with the real client and real packets: names, isolation, addresses, connect and disconnect, restarts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.lab import cluster as lab_cluster
from tests.support import labs
from tests.support.labs import IMAGE, LabCluster, unique, wait

pytestmark = pytest.mark.root
OPTION = "com.docker.network.bridge"


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    """Two hosts without a cluster: the second one is the outside."""
    with labs.running_lab("nets", 2, init_cluster=False, archive=images) as running:
        yield running


@pytest.fixture(autouse=True)
def _clean_host(lab: LabCluster) -> Iterator[None]:
    """At the end of each test the kernel holds what the networks want, and then nothing is left of them."""
    yield
    verified = labs.run([labs.PYTHON_BIN / "covey", "network", "verify"], check=None, env=lab.environment())
    names = lab.docker("ps", "-aq").lines
    if names:
        lab.docker("rm", "-f", *names)
    lab.docker("network", "prune", "-f")
    lab.docker("network", "rm", *lab.docker("network", "ls", "-q", "--filter", "type=custom").lines, check=None)
    assert verified.out == "No differences\n"


def network(lab: LabCluster, *options: str) -> str:
    name = unique("n")
    lab.docker("network", "create", *options, name)
    return name


def container(lab: LabCluster, *options: str) -> str:
    name = unique("c")
    lab.docker("run", "-d", "--init", "--name", name, *options, IMAGE, *labs.SLEEP)
    return name


def endpoints(lab: LabCluster, name: str) -> dict[str, Any]:
    return dict(lab.get(f"/containers/{name}/json")["NetworkSettings"]["Networks"])


def address(lab: LabCluster, name: str, on: str, field: str = "IPAddress") -> str:
    return str(endpoints(lab, name)[on][field])


def inside(lab: LabCluster, name: str, *command: str) -> str:
    return lab.docker("exec", name, *command).out


def reaches(lab: LabCluster, name: str, target: str) -> bool:
    return lab.docker("exec", name, "ping", "-c", "1", "-W", "1", target, check=None).code == 0


def test_containers_of_a_network_reach_each_other_by_every_name_in_both_families(lab: LabCluster) -> None:
    net = network(lab, "--ipv6", "--subnet", "10.61.0.0/24", "--subnet", "fd61::/64")
    first = container(lab, "--network", net, "--network-alias", "db", "--hostname", "primary")
    second = container(lab, "--network", net, "--link", f"{first}:friend")
    short = lab.get(f"/containers/{first}/json")["Id"][:12]
    for name in (first, "db", "primary", short, "friend", f"{first}.{net}", "10.61.0.2", "fd61::2"):
        assert reaches(lab, second, name), name
    assert not reaches(lab, first, "friend")
    assert "10.61.0.2" in inside(lab, second, "nslookup", "-type=a", "db")
    assert "fd61::2" in inside(lab, second, "nslookup", "-type=aaaa", "db")
    assert f"{first}.{net}" in inside(lab, second, "nslookup", "10.61.0.2")
    assert f"{first}.{net}" in inside(lab, second, "nslookup", "fd61::2")
    lab.docker("rename", first, "renamed")
    assert reaches(lab, second, "renamed")
    assert not reaches(lab, second, first)
    plain = container(lab)
    assert not reaches(lab, plain, "renamed")
    assert "127.0.0.11" not in inside(lab, plain, "cat", "/etc/resolv.conf")


def test_networks_are_apart_and_their_options_say_what_may_pass(lab: LabCluster) -> None:
    one, other = network(lab), network(lab)
    closed = network(lab, "--internal")
    silent = network(lab, "-o", f"{OPTION}.enable_icc=false")
    first, second = container(lab, "--network", one), container(lab, "--network", one)
    assert reaches(lab, first, second)
    target = address(lab, first, one)
    for net in (other, closed, silent):
        foreign = container(lab, "--network", net)
        assert not reaches(lab, foreign, target), net
        assert not reaches(lab, first, address(lab, foreign, net)), net
        neighbour = container(lab, "--network", net)
        assert reaches(lab, neighbour, address(lab, foreign, net)) is (net != silent)
        outside = reaches(lab, neighbour, lab[2].address)
        assert outside is (net != closed)
    default = container(lab)
    assert reaches(lab, default, address(lab, container(lab), "bridge"))
    assert not reaches(lab, default, target)


def test_br_netfilter_changes_nothing(lab: LabCluster) -> None:
    flag = "/proc/sys/net/bridge/bridge-nf-call-iptables"
    net = network(lab)
    first, second = container(lab, "--network", net), container(lab, "--network", net)
    for value in ("1", "0"):
        lab.inside(lab[1], "sh", "-c", f"echo {value} > {flag}")
        assert reaches(lab, first, second)
        assert reaches(lab, first, lab[2].address)


def test_gateway_modes_decide_who_reaches_a_container_from_outside(lab: LabCluster) -> None:
    for number, (mode, outside, seen) in enumerate(
        (("nat", False, "host"), ("nat-unprotected", True, "host"), ("routed", True, "container"))
    ):
        subnet = f"10.{62 + number}.0.0/24"
        net = network(lab, "--subnet", subnet, "-o", f"{OPTION}.gateway_mode_ipv4={mode}")
        name = container(lab, "--network", net)
        lab.inside(lab[2], "ip", "route", "replace", subnet, "via", lab[1].address)
        ping = lab.inside(lab[2], "ping", "-c", "1", "-W", "1", address(lab, name, net), check=None)
        assert (ping.code == 0) is outside, mode
        lab.inside(lab[2], "nft", "add table ip t; flush table ip t; add set ip t s { type ipv4_addr; flags dynamic; }; "
                   "add chain ip t i { type filter hook input priority 0; }; add rule ip t i icmp type echo-request add @s { ip saddr }")  # fmt: skip
        assert reaches(lab, name, lab[2].address)
        sources = lab.inside(lab[2], "nft", "list", "set", "ip", "t", "s").out
        assert (lab[1].address if seen == "host" else address(lab, name, net)) in sources
        lab.inside(lab[2], "nft", "delete", "table", "ip", "t")
        lab.inside(lab[2], "ip", "route", "del", subnet)
    net = network(lab, "--subnet", "10.65.0.0/24", "-o", f"{OPTION}.gateway_mode_ipv4=routed")
    lab.inside(lab[2], "ip", "route", "replace", "10.65.0.0/24", "via", lab[1].address)
    name = unique("c")
    lab.docker("run", "-d", "--init", "--name", name, "--network", net, "-p", "8080:80", IMAGE, *labs.WEB)
    fetch = ("curl", "-sf", "-m", "1", f"http://{address(lab, name, net)}")
    wait(lambda: lab.inside(lab[2], *fetch, check=None).code == 0, "the published port at the container's own address")
    lab.docker("exec", "-d", name, "httpd", "-f", "-p", "81", "-h", "/www")
    assert lab.inside(lab[2], *fetch[:-1], f"{fetch[-1]}:81", check=None).code != 0
    lab.inside(lab[2], "ip", "route", "del", "10.65.0.0/24")
    isolated = network(lab, "--internal", "-o", f"{OPTION}.gateway_mode_ipv4=isolated")
    first, second = container(lab, "--network", isolated), container(lab, "--network", isolated)
    assert reaches(lab, first, address(lab, second, isolated))
    assert "inet " not in lab.inside(lab[1], "ip", "-4", "addr", "show", "dev", f"br-{_id(lab, isolated)[:12]}").out


def test_ipv6_is_translated_like_ipv4_and_unpublished_ports_are_closed(lab: LabCluster) -> None:
    for number in (1, 2):
        lab.inside(lab[number], "ip", "-6", "addr", "replace", f"fd99::{number}/64", "dev", "eth0", "nodad")
    net = network(lab, "--ipv6", "--ipv4=false", "--subnet", "fd66::/64")
    name = container(lab, "--network", net)
    assert endpoints(lab, name)[net]["IPAddress"] == ""
    lab.inside(lab[2], "nft", "add table ip6 t; flush table ip6 t; add set ip6 t s { type ipv6_addr; flags dynamic; }; "
               "add chain ip6 t i { type filter hook input priority 0; }; add rule ip6 t i icmpv6 type echo-request add @s { ip6 saddr }")  # fmt: skip
    wait(lambda: reaches(lab, name, "fd99::2"), "the outside over IPv6")
    assert "fd99::1" in lab.inside(lab[2], "nft", "list", "set", "ip6", "t", "s").out
    lab.inside(lab[2], "ip", "-6", "route", "replace", "fd66::/64", "via", "fd99::1")
    assert lab.inside(lab[2], "ping", "-6", "-c", "1", "-W", "1", "fd66::2", check=None).code != 0
    assert lab.inside(lab[1], "ping", "-6", "-c", "1", "-W", "1", "fd66::2").code == 0
    lab.inside(lab[2], "ip", "-6", "route", "del", "fd66::/64")
    lab.inside(lab[2], "nft", "delete", "table", "ip6", "t")


def test_a_network_that_is_named_by_its_id_shows_what_was_asked_for(lab: LabCluster) -> None:
    net = network(lab, "--subnet", "10.72.0.0/24")
    name = container(lab, "--network", _id(lab, net), "--ip", "10.72.0.33")
    assert endpoints(lab, name)[net]["IPAMConfig"] == {"IPv4Address": "10.72.0.33"}
    lab.docker("network", "disconnect", _id(lab, net)[:12], name)
    assert endpoints(lab, name) == {}
    lab.docker("network", "connect", _id(lab, net)[:12], name)
    assert list(endpoints(lab, name)) == [net]


def test_a_container_has_several_networks_fixed_addresses_and_the_default_route_of_the_highest_priority(
    lab: LabCluster,
) -> None:
    front = network(
        lab, "--subnet", "10.66.0.0/24", "--gateway", "10.66.0.9", "-o", "com.docker.network.driver.mtu=1400"
    )
    back = network(lab, "--subnet", "10.67.0.0/24", "-o", "com.docker.network.container_iface_prefix=lan")
    name = container(
        lab, "--network", f"name={front},ip=10.66.0.77,alias=web,mac-address=02:42:00:00:00:77,link-local-ip=169.254.7.7",
        "--network", f"name={back},gw-priority=7,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1",
    )  # fmt: skip
    shown = inside(lab, name, "ip", "-o", "addr")
    assert "10.66.0.77/24" in shown
    assert "169.254.7.7/16" in shown
    assert "lan0" in shown
    links = inside(lab, name, "ip", "link")
    assert "02:42:00:00:00:77" in links
    assert "mtu 1400" in links
    assert "MULTICAST" in links
    assert inside(lab, name, "ip", "route").splitlines()[0].split() == ["default", "via", "10.67.0.1", "dev", "lan0"]
    assert inside(lab, name, "cat", "/proc/sys/net/ipv4/conf/lan0/log_martians").strip() == "1"
    found = endpoints(lab, name)
    assert found[front]["IPAMConfig"] == {"IPv4Address": "10.66.0.77", "LinkLocalIPs": ["169.254.7.7"]}
    assert (found[front]["Gateway"], found[back]["GwPriority"]) == ("10.66.0.9", 7)
    assert found[front]["DNSNames"][:2] == [name, "web"]
    lab.docker("network", "disconnect", back, name)
    assert inside(lab, name, "ip", "route").splitlines()[0].split() == ["default", "via", "10.66.0.9", "dev", "eth0"]
    lab.docker("restart", "-t", "0", name)
    assert list(endpoints(lab, name)) == [front]
    assert address(lab, name, front) == "10.66.0.77"


def test_a_running_container_joins_and_leaves_and_a_stopped_one_at_its_start(lab: LabCluster) -> None:
    net = network(lab, "--subnet", "10.68.0.0/24")
    other = container(lab, "--network", net)
    name = container(lab)
    lab.docker("network", "connect", "--ip", "10.68.0.50", "--alias", "late", net, name)
    assert reaches(lab, other, "late")
    assert reaches(lab, name, other)
    assert "10.68.0.50\t" in inside(lab, name, "cat", "/etc/hosts")
    refused = lab.docker("network", "rm", net, check=1).err
    assert f"network {net} id {_id(lab, net)} has active endpoints" in refused
    assert "already exists in network" in lab.docker("network", "connect", net, name, check=1).err
    lab.docker("network", "disconnect", net, name)
    assert not reaches(lab, other, "late")
    assert "is not connected to" in lab.docker("network", "disconnect", net, name, check=1).err
    assert "network nowhere not found" in lab.docker("network", "disconnect", "nowhere", name, check=1).err
    lab.docker("stop", "-t", "0", name)
    lab.docker("network", "connect", net, name)
    lab.docker("start", name)
    assert set(endpoints(lab, name)) == {"bridge", net}
    assert reaches(lab, name, other)
    lab.docker("rm", "-f", name, other)
    lab.docker("network", "rm", net)


def test_addresses_run_out_are_told_and_come_back(lab: LabCluster) -> None:
    net = network(lab, "--subnet", "10.69.0.0/29", "--aux-address", "router=10.69.0.6")
    names = [container(lab, "--network", net) for _ in range(4)]
    full = lab.docker("run", "-d", "--network", net, IMAGE, *labs.SLEEP, check=125).err
    assert f"no available IPv4 addresses on this network's address pools: {net} ({_id(lab, net)})" in full
    taken = lab.docker("run", "-d", "--network", net, "--ip", "10.69.0.6", IMAGE, *labs.SLEEP, check=125).err
    assert "Address already in use" in taken
    lab.docker("rm", "-f", names[2])
    again = container(lab, "--network", net)
    assert address(lab, again, net) == "10.69.0.4"


def test_addresses_and_ports_are_free_when_a_stop_or_kill_returns(lab: LabCluster) -> None:
    """docker-compose stops a container, starts its successor with the same address and port, and then removes it."""
    taken = ("--network", network(lab, "--subnet", "10.66.3.0/24"), "--ip", "10.66.3.9", "-p", "18066:80")
    for end in (("stop", "-t", "0"), ("kill",)) * 3:
        lab.docker(*end, container(lab, *taken))
    container(lab, *taken)


def test_a_new_daemon_takes_over_networks_and_containers_without_losing_a_packet(lab: LabCluster) -> None:
    net = network(lab, "--subnet", "10.70.0.0/24")
    first, second = container(lab, "--network", net, "--network-alias", "db"), container(lab, "--network", net)
    lab.docker("exec", "-d", second, "sh", "-c", "ping -i 0.1 10.70.0.2 > /log")
    lab_cluster.crash(lab[1])
    lab_cluster.start(lab.lab, lab[1])
    assert reaches(lab, second, "db")
    assert address(lab, first, net) == "10.70.0.2"
    assert address(lab, container(lab, "--network", net), net) == "10.70.0.4"
    assert "has active endpoints" in lab.docker("network", "rm", net, check=1).err
    seen = [
        line.split("seq=")[1].split()[0] for line in inside(lab, second, "cat", "/log").splitlines() if "seq=" in line
    ]
    assert seen == [str(number) for number in range(len(seen))]
    lab.docker("rm", "-f", first)
    wait(lambda: not reaches(lab, second, "db"), "the name of a removed container to go")


def test_a_container_on_the_network_of_another_and_a_config_only_network(lab: LabCluster) -> None:
    settings = network(lab, "--config-only", "--subnet", "10.71.0.0/24", "-o", "com.docker.network.driver.mtu=1300")
    net = network(lab, "--config-from", settings)
    donor = container(lab, "--network", net)
    joined = container(lab, "--network", f"container:{donor}")
    assert "10.71.0.2/24" in inside(lab, joined, "ip", "-o", "addr")
    assert "mtu 1300" in inside(lab, joined, "ip", "link", "show", "eth0")
    refused = lab.docker("run", "--rm", "--network", settings, IMAGE, "true", check=125).err
    assert "cannot create endpoint on configuration-only network" in refused
    assert "is in use" in lab.docker("network", "rm", settings, check=1).err


def test_macvlan_networks_put_containers_on_the_hosts_own_link(lab: LabCluster) -> None:
    subnet = f"{lab[1].address.rpartition('.')[0]}.0/24"
    flags = ("-d", "macvlan", "-o", "parent=eth0", "--subnet", subnet, "--ip-range", subnet.replace(".0/24", ".128/28"))
    net = network(lab, *flags, "--gateway", subnet.replace(".0/24", ".254"))
    first, second = container(lab, "--network", net), container(lab, "--network", net)
    assert reaches(lab, first, second)
    assert reaches(lab, first, lab[2].address)
    assert address(lab, first, net).endswith(".128")
    lab_cluster.crash(lab[1])
    lab_cluster.start(lab.lab, lab[1])
    assert reaches(lab, first, second)
    for mode in ("private", "vepa"):
        lab.docker("rm", "-f", *lab.docker("ps", "-aq").lines)
        lab.docker("network", "rm", net)
        net = network(lab, *flags, "-o", f"macvlan_mode={mode}")
        first, second = container(lab, "--network", net), container(lab, "--network", net)
        assert reaches(lab, first, lab[2].address)
        assert not reaches(lab, first, address(lab, second, net))
    inner = network(lab, "-d", "macvlan", "--internal")
    one, other = container(lab, "--network", inner), container(lab, "--network", inner)
    assert reaches(lab, one, other)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-d", "ipvlan", "-o", "parent=eth0"), "this kernel has no ipvlan devices"),
        (("-d", "macvlan", "-o", "parent=eth0.50"), "this kernel has no vlan devices"),
        (("-d", "macvlan", "-o", "parent=eth9"), "there is no parent device eth9"),
        (("-d", "macvlan", "-o", "macvlan_mode=l2"), "requested macvlan mode 'l2' is not valid"),
    ],
)
def test_what_the_host_cannot_do_is_refused_by_name_and_leaves_nothing(
    lab: LabCluster, options: tuple[str, ...], words: str
) -> None:
    before = lab.inside(lab[1], "ip", "-o", "link").out
    refused = lab.docker("network", "create", *options, "new", check=None)
    if refused.code == 0 and "this kernel" in words:
        pytest.skip(f"the kernel of this machine can do what the test wants refused: {' '.join(options)}")
    assert words in refused.err
    assert lab.inside(lab[1], "ip", "-o", "link").out == before
    assert lab.docker("network", "ls", "-q", "--filter", "type=custom").lines == []


def test_nothing_of_a_network_is_left_behind(lab: LabCluster) -> None:
    before = lab.inside(lab[1], "sh", "-c", "ip -o link | cut -d: -f2 | sort; nft list ruleset").out
    net = network(lab, "--ipv6")
    name = container(lab, "--network", net)
    assert f"br-{_id(lab, net)[:12]}" in lab.inside(lab[1], "ip", "link").out
    lab.docker("rm", "-f", name)
    lab.docker("network", "rm", net)
    assert lab.inside(lab[1], "sh", "-c", "ip -o link | cut -d: -f2 | sort; nft list ruleset").out == before


def _id(lab: LabCluster, name: str) -> str:
    return str(lab.json("network", "inspect", name)[0]["Id"])


def test_addresses_of_networks_are_none_of_the_hosts_own(lab: LabCluster) -> None:
    """A host with one address needs no --advertise-addr, whatever networks it has and however their bridges are named."""
    network(lab, "-o", f"{OPTION}.name=shop0")
    lab.docker("swarm", "init", on=lab[1])
    assert lab.get("/info")["Swarm"]["NodeAddr"] == lab[1].address
    lab.docker("swarm", "leave", "--force", on=lab[1])
